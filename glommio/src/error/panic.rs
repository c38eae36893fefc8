//! What a panicking thread leaves behind.

use std::{any::Any, fmt, panic, sync::Mutex};

/// What a panicking thread leaves behind: its message, and the value that it
/// panicked with.
///
/// ```
/// use glommio::PanicPayload;
///
/// let died = std::thread::spawn(|| panic!("disk full")).join().unwrap_err();
/// let payload = PanicPayload::from(died);
/// assert_eq!(payload.message(), "disk full");
/// assert!(payload.into_inner().is::<&str>());
/// ```
pub struct PanicPayload {
    message: String,
    // The mutex is never locked: it turns a `Send` payload into a `Sync` field,
    // and `into_inner` opens it by value.
    payload: Mutex<Box<dyn Any + Send>>,
}

impl PanicPayload {
    /// Wraps what [`std::thread::JoinHandle::join`] or
    /// [`std::panic::catch_unwind`] returned as an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::PanicPayload;
    ///
    /// let payload = std::panic::catch_unwind(|| panic!("disk full")).unwrap_err();
    /// assert_eq!(PanicPayload::new(payload).message(), "disk full");
    /// ```
    pub fn new(payload: Box<dyn Any + Send>) -> Self {
        let message = if let Some(text) = payload.downcast_ref::<&'static str>() {
            (*text).to_owned()
        } else if let Some(text) = payload.downcast_ref::<String>() {
            text.clone()
        } else {
            "the payload is not text".to_owned()
        };
        PanicPayload {
            message,
            payload: Mutex::new(payload),
        }
    }

    /// The text that the thread panicked with, or a remark that it was not
    /// text.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The value that the thread panicked with.
    pub fn into_inner(self) -> Box<dyn Any + Send> {
        match self.payload.into_inner() {
            Ok(payload) => payload,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// Continues the panic on this thread, without calling the panic hook
    /// again.
    ///
    /// # Panics
    ///
    /// Always, with the value that the other thread panicked with.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::panic::catch_unwind;
    ///
    /// use glommio::PanicPayload;
    ///
    /// let caught = catch_unwind(|| panic!("disk full")).unwrap_err();
    /// let payload = PanicPayload::new(caught);
    /// // What is to be done first, whatever has happened.
    /// let again = catch_unwind(|| payload.resume()).unwrap_err();
    /// assert_eq!(PanicPayload::new(again).message(), "disk full");
    /// ```
    pub fn resume(self) -> ! {
        panic::resume_unwind(self.into_inner())
    }
}

impl From<Box<dyn Any + Send>> for PanicPayload {
    fn from(payload: Box<dyn Any + Send>) -> Self {
        PanicPayload::new(payload)
    }
}

impl fmt::Display for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PanicPayload").field(&self.message).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload_of(f: impl FnOnce() + panic::UnwindSafe) -> PanicPayload {
        PanicPayload::new(panic::catch_unwind(f).expect_err("the closure panics"))
    }

    #[test]
    fn message_of_literal_and_formatted_panics() {
        let literal = payload_of(|| panic::resume_unwind(Box::new("plain")));
        assert_eq!(literal.message(), "plain");
        let formatted = payload_of(|| panic::resume_unwind(Box::new(format!("number {}", 7))));
        assert_eq!(formatted.message(), "number 7");
        assert_eq!(formatted.to_string(), "number 7");
        assert_eq!(format!("{formatted:?}"), "PanicPayload(\"number 7\")");
    }

    #[test]
    fn payload_comes_back_whatever_its_type() {
        let payload = payload_of(|| panic::resume_unwind(Box::new(42_u8)));
        assert_eq!(payload.message(), "the payload is not text");
        assert_eq!(*payload.into_inner().downcast::<u8>().unwrap(), 42);
    }

    #[test]
    fn resume_continues_with_the_same_value() {
        let payload = payload_of(|| panic::resume_unwind(Box::new(42_u8)));
        let again = panic::catch_unwind(panic::AssertUnwindSafe(|| payload.resume()));
        assert_eq!(*again.unwrap_err().downcast::<u8>().unwrap(), 42);
    }
}
