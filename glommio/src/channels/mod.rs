//! Channels within an executor and between executors.
