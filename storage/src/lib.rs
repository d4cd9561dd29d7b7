//! vetch-storage
