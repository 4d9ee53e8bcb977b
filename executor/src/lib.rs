//! One executor interface over threads, processes and clusters
