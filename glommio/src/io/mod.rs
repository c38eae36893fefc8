//! Files: direct and buffered.
