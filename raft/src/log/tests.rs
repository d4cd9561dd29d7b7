//! The log on real and simulated disks, whole and broken.

mod suite;
