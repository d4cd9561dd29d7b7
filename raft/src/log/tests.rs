//! The log on real and simulated disks, whole and broken.

mod commit;
mod crash;
mod damage;
mod faults;
mod harness;
mod model;
mod suite;
mod torn;
