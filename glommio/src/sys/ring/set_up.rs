//! Creating the ring.

use std::{io, thread, time::Duration};

use io_uring::IoUring;

use crate::{
    error::Result,
    sys::{
        features::{Features, Rung},
        startup,
    },
};

/// A ring is not made smaller than this, in entries.
const SMALLEST: u32 = 8;

/// How long to wait for memory that rings which have ended give back: the kernel takes them down a
/// little later than it says.
const PATIENCE_MS: [u64; 6] = [1, 4, 16, 64, 128, 256];

/// Creates the ring with every flag of the ladder; a ring that does not fit below the memlock limit
/// is made smaller. Kernels before 5.12 count ring memory against the limit (io_uring_mlock_size(3)),
/// and those from 6.14 again, since rings are regions (commits 8078486e1d53 and 81a4058e0cd0).
pub(super) fn set_up(entries: u32, features: &Features) -> Result<IoUring, ()> {
    let mut entries = entries;
    let mut patience = PATIENCE_MS.into_iter().map(Duration::from_millis);
    loop {
        let mut builder = IoUring::builder();
        builder
            .dontfork()
            .setup_clamp()
            .setup_cqsize((entries * 4).max(1024));
        if features.has(Rung::SingleIssuer) {
            builder.setup_single_issuer();
        }
        if features.has(Rung::DeferTaskrun) && features.has(Rung::SingleIssuer) {
            builder.setup_defer_taskrun().setup_taskrun_flag();
        } else if features.has(Rung::CoopTaskrun) {
            builder.setup_coop_taskrun().setup_taskrun_flag();
        }
        if features.has(Rung::NoSqArray) {
            builder.setup_no_sqarray();
        }
        match builder.build(entries) {
            Ok(uring) => return Ok(uring),
            Err(e) if e.raw_os_error() == Some(libc::ENOMEM) && entries > SMALLEST => entries /= 2,
            Err(e) => match patience.next() {
                Some(pause) if startup::may_fit_later(&e, entries) => thread::sleep(pause),
                _ => return Err(startup::ring_refused(&e, entries)),
            },
        }
    }
}

/// Creates a ring that polls devices. It has as many completions as submissions twice, which is
/// more than operations can be in flight on it. What the kernel refuses together with polling is left
/// out, newest first.
pub(super) fn set_up_polled(entries: u32, features: &Features) -> io::Result<IoUring> {
    let single = features.has(Rung::SingleIssuer);
    let defer = single && features.has(Rung::DeferTaskrun);
    let no_array = features.has(Rung::NoSqArray);
    let mut refusal = None;
    for (single, defer, no_array) in [
        (single, defer, no_array),
        (single, defer, false),
        (single, false, false),
        (false, false, false),
    ] {
        let mut builder = IoUring::builder();
        builder.dontfork().setup_clamp().setup_iopoll();
        if single {
            builder.setup_single_issuer();
        }
        if defer {
            builder.setup_defer_taskrun().setup_taskrun_flag();
        }
        if no_array {
            builder.setup_no_sqarray();
        }
        match builder.build(entries) {
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => refusal = Some(e),
            other => return other,
        }
    }
    Err(refusal.unwrap_or_else(|| io::Error::from_raw_os_error(libc::EINVAL)))
}
