//! vetch-jepsen
