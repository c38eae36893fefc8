//! Unix sockets as their users see them.

mod datagram;
mod listener;
mod stream;

use std::path::PathBuf;

use tempfile::TempDir;

/// A folder that lives as long as the test, and a path in it where nothing is.
pub(super) fn path() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    (dir, path)
}

/// An abstract name that nobody else has.
pub(super) fn abstract_name(test: &str) -> String {
    format!("\0glommio-{}-{test}", std::process::id())
}

/// The kind and the text of an error.
fn kind_and_text<T: std::fmt::Debug>(
    result: Result<T, glommio::GlommioError<()>>,
) -> (std::io::ErrorKind, String) {
    let error = result.unwrap_err();
    let text = error.to_string();
    (std::io::Error::from(error).kind(), text)
}
