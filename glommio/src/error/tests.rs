//! Messages, kinds and conversions of [`GlommioError`].

use super::*;

/// A value without `Debug`, as a channel may carry.
struct Plain(#[allow(dead_code)] u8);

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

fn reading() -> GlommioError<()> {
    GlommioError::create_enhanced(errno(5), "Reading", Some(Path::new("/data/x")), Some(9))
}

/// One error of every kind, with its message and its `io::ErrorKind`.
fn every_error() -> Vec<(GlommioError<Plain>, &'static str, io::ErrorKind)> {
    use BuilderErrorKind as Builder;
    use GlommioError as E;
    use ResourceType as R;
    use io::ErrorKind as Kind;

    let semaphore = || R::Semaphore {
        requested: 3,
        available: 1,
    };
    vec![
        (
            errno(2).into(),
            "IO error occurred: No such file or directory (os error 2)",
            Kind::NotFound,
        ),
        (
            E::create_enhanced(errno(13), "Opening", Some(Path::new("/data/x")), None),
            "Permission denied (os error 13), op: Opening path: Some(\"/data/x\") with fd: None",
            Kind::PermissionDenied,
        ),
        (
            E::create_enhanced(errno(4), "Reading", None, Some(9)),
            "Interrupted system call (os error 4), op: Reading path: None with fd: Some(9)",
            Kind::Interrupted,
        ),
        (
            E::queue(7, QueueErrorKind::NotFound),
            "Executor error: Queue #7 is not found",
            Kind::NotFound,
        ),
        (
            E::queue(7, QueueErrorKind::StillActive),
            "Executor error: Queue #7 is still active",
            Kind::ResourceBusy,
        ),
        (
            E::ExecutorError(ExecutorErrorKind::InvalidId(3)),
            "Executor error: indexing executor with id 3, which is invalid",
            Kind::InvalidInput,
        ),
        (
            E::BuilderError(Builder::NonExistentCpus { cpu: 512 }),
            "Executor builder error: CPU 512 doesn't exist on the host",
            Kind::InvalidInput,
        ),
        (
            E::BuilderError(Builder::InsufficientCpus {
                required: 8,
                available: 2,
            }),
            "Executor builder error: found 2 of 8 required CPUs",
            Kind::InvalidInput,
        ),
        (
            E::BuilderError(Builder::NrShards {
                minimum: 1,
                shards: 0,
            }),
            "Executor builder error: 0 shards requested, but the placement asks for at least 1",
            Kind::InvalidInput,
        ),
        (
            E::thread_panic(Box::new("oh no")),
            "Executor builder error: thread panicked: oh no",
            Kind::Other,
        ),
        (
            E::Closed(semaphore()),
            "Semaphore is closed (requested: 3, available: 1)",
            Kind::BrokenPipe,
        ),
        (E::Closed(R::RwLock), "RwLock is closed", Kind::BrokenPipe),
        (
            E::Closed(R::Channel(Plain(1))),
            "Channel is closed",
            Kind::BrokenPipe,
        ),
        (E::Closed(R::Gate), "Gate is closed", Kind::BrokenPipe),
        (
            E::Closed(R::File("sealed".into())),
            "File is closed (sealed)",
            Kind::BrokenPipe,
        ),
        (
            E::CanNotBeClosed(R::RwLock, "it is poisoned"),
            "RwLock can not be closed: it is poisoned",
            Kind::ResourceBusy,
        ),
        (
            E::WouldBlock(semaphore()),
            "Semaphore operation would block (requested: 3, available: 1)",
            Kind::WouldBlock,
        ),
        (
            E::WouldBlock(R::RwLock),
            "RwLock operation would block",
            Kind::WouldBlock,
        ),
        (
            E::WouldBlock(R::Channel(Plain(1))),
            "Channel operation would block",
            Kind::WouldBlock,
        ),
        (
            E::WouldBlock(R::Gate),
            "Gate operation would block",
            Kind::WouldBlock,
        ),
        (
            E::WouldBlock(R::File("locked".into())),
            "File operation would block (locked)",
            Kind::WouldBlock,
        ),
        (
            E::CanNotBeClosed(semaphore(), "it is in use"),
            "Semaphore can not be closed (requested: 3, available: 1): it is in use",
            Kind::ResourceBusy,
        ),
        (
            E::CanNotBeClosed(R::Channel(Plain(1)), "it is in use"),
            "Channel can not be closed: it is in use",
            Kind::ResourceBusy,
        ),
        (
            E::ReactorError(ReactorErrorKind::IncorrectSourceType("Open".into())),
            "Reactor error: Incorrect source type: Open",
            Kind::InvalidData,
        ),
        (
            E::memlock(65536, 524288),
            "Reactor error: The memlock resource limit is too low: 65536 (recommended 524288)",
            Kind::OutOfMemory,
        ),
        (
            E::TimedOut(Duration::from_secs(1)),
            "Operation timed out after 1s",
            Kind::TimedOut,
        ),
        (
            E::TimedOut(Duration::from_millis(1)),
            "Operation timed out after 1ms",
            Kind::TimedOut,
        ),
    ]
}

#[test]
fn messages_are_the_ones_that_people_match_on() {
    for (error, message, _) in every_error() {
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn io_errors_have_a_fitting_kind() {
    for (error, message, kind) in every_error() {
        assert_eq!(io::Error::from(error).kind(), kind, "{message}");
    }
}

#[test]
fn io_errors_keep_the_message() {
    for (error, message, _) in every_error() {
        let plain = matches!(error, GlommioError::IoError(_));
        let error = io::Error::from(error);
        if plain {
            assert_eq!(error.to_string(), "No such file or directory (os error 2)");
        } else {
            assert_eq!(error.to_string(), message);
        }
    }
}

#[test]
fn errors_are_send_sync_and_static() {
    fn check<T: Send + Sync + 'static>() {}
    check::<GlommioError<()>>();
    check::<GlommioError<Vec<String>>>();
    check::<BuilderErrorKind>();
    check::<PanicPayload>();
    check::<StartError>();
    check::<ResourceType<u8>>();
}

#[test]
fn question_mark_boxes_any_error() {
    fn boxed(error: GlommioError<u8>) -> std::result::Result<(), Box<dyn Error + Send + Sync>> {
        Err(error)?;
        Ok(())
    }
    let error = boxed(GlommioError::thread_panic(Box::new("oh no"))).unwrap_err();
    let error = error.downcast::<GlommioError<u8>>().unwrap();
    let GlommioError::BuilderError(BuilderErrorKind::ThreadPanic(payload)) = *error else {
        panic!("another error: {error:?}");
    };
    assert_eq!(*payload.into_inner().downcast::<&str>().unwrap(), "oh no");
}

#[test]
fn question_mark_turns_io_errors_into_ours_and_back() {
    fn ours() -> Result<(), ()> {
        Err(errno(28))?;
        Ok(())
    }
    fn theirs() -> io::Result<()> {
        ours()?;
        Ok(())
    }
    assert_eq!(ours().unwrap_err().raw_os_error(), Some(28));
    assert_eq!(theirs().unwrap_err().raw_os_error(), Some(28));
}

#[test]
fn raw_os_error_is_known_for_io_errors_only() {
    assert_eq!(reading().raw_os_error(), Some(5));
    assert_eq!(GlommioError::<()>::from(errno(5)).raw_os_error(), Some(5));
    let closed = GlommioError::<()>::Closed(ResourceType::Gate);
    assert_eq!(closed.raw_os_error(), None);
    assert_eq!(
        GlommioError::<()>::from(io::Error::other("no number")).raw_os_error(),
        None
    );
}

#[test]
fn enhanced_error_survives_the_way_through_io_error() {
    let there = io::Error::from(reading());
    let source = there.get_ref().unwrap().source().unwrap();
    let source = source.downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.raw_os_error(), Some(5));

    let GlommioError::<()>::EnhancedIoError {
        source,
        op,
        path,
        fd,
    } = there.into()
    else {
        panic!("the context is lost");
    };
    assert_eq!(source.raw_os_error(), Some(5));
    assert_eq!(op, "Reading");
    assert_eq!(path.as_deref(), Some(Path::new("/data/x")));
    assert_eq!(fd, Some(9));
}

#[test]
fn source_of_an_io_error_is_the_io_error() {
    for error in [reading(), errno(5).into()] {
        let source = error.source().unwrap().downcast_ref::<io::Error>();
        assert_eq!(source.unwrap().raw_os_error(), Some(5));
    }
    assert!(GlommioError::<()>::memlock(1, 2).source().is_none());
}

#[test]
fn resource_pairs_tell_closed_and_would_block_from_the_rest() {
    let pair = |kind| GlommioError::from((io::Error::from(kind), ResourceType::Channel(5)));
    assert!(matches!(
        pair(io::ErrorKind::BrokenPipe),
        GlommioError::Closed(ResourceType::Channel(5))
    ));
    assert!(matches!(
        pair(io::ErrorKind::WouldBlock),
        GlommioError::WouldBlock(ResourceType::Channel(5))
    ));
    assert!(matches!(
        pair(io::ErrorKind::NotFound),
        GlommioError::IoError(error) if error.kind() == io::ErrorKind::NotFound
    ));
}

#[test]
fn into_inner_hands_the_unsent_value_back() {
    let channel = || ResourceType::Channel(5);
    assert_eq!(GlommioError::Closed(channel()).into_inner(), Some(5));
    assert_eq!(GlommioError::WouldBlock(channel()).into_inner(), Some(5));
    assert_eq!(
        GlommioError::CanNotBeClosed(channel(), "busy").into_inner(),
        Some(5)
    );
    assert_eq!(
        GlommioError::<u8>::Closed(ResourceType::Gate).into_inner(),
        None
    );
    assert_eq!(GlommioError::<u8>::from(errno(5)).into_inner(), None);
}

#[test]
fn debug_demands_nothing_of_the_value() {
    let debug = |error: GlommioError<Plain>| format!("{error:?}");
    let channel = || ResourceType::Channel(Plain(5));
    assert_eq!(
        debug(GlommioError::Closed(channel())),
        "Closed(Channel(..))"
    );
    assert_eq!(
        debug(GlommioError::CanNotBeClosed(channel(), "busy")),
        "CanNotBeClosed(Channel(..), \"busy\")"
    );
    assert_eq!(
        debug(GlommioError::WouldBlock(ResourceType::Semaphore {
            requested: 3,
            available: 1
        })),
        "WouldBlock(Semaphore { requested: 3, available: 1 })"
    );
    assert_eq!(
        format!("{:?}", reading()),
        "EnhancedIoError { source: Os { code: 5, kind: Uncategorized, message: \
         \"Input/output error\" }, op: \"Reading\", path: Some(\"/data/x\"), fd: Some(9) }"
    );
    assert_eq!(
        debug(GlommioError::thread_panic(Box::new("oh no"))),
        "BuilderError(ThreadPanic(PanicPayload(\"oh no\")))"
    );
}

#[test]
fn resources_display_name_and_details() {
    let semaphore = ResourceType::<()>::Semaphore {
        requested: 3,
        available: 1,
    };
    assert_eq!(
        semaphore.to_string(),
        "Semaphore (requested: 3, available: 1)"
    );
    assert_eq!(ResourceType::<()>::Gate.to_string(), "Gate");
    assert_eq!(
        ResourceType::<()>::File("sealed".into()).to_string(),
        "File (sealed)"
    );
    assert_eq!(format!("{:?}", ResourceType::Channel(5)), "Channel(5)");
}
