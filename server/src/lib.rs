//! vetch-server
