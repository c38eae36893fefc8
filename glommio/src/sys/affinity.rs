//! Which CPUs threads may run on.

use std::{io, sync::OnceLock};

use nix::{
    errno::Errno,
    sched::{CpuSet as Mask, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use super::sysfs::KernelFiles;
use crate::error::{BuilderErrorKind, GlommioError, Result};

/// The kernel's name for the thread that asks.
const THIS_THREAD: Pid = Pid::from_raw(0);

/// The CPUs that the calling thread may run on, in order.
///
/// # Errors
///
/// When the kernel does not tell, which only a system-call filter can bring
/// about.
pub(crate) fn current_thread() -> io::Result<Vec<usize>> {
    match mask_of(THIS_THREAD) {
        // The kernel supports more CPUs than fit the mask.
        Err(Errno::EINVAL) => KernelFiles::host()
            .status_field("thread-self", "Cpus_allowed_list")
            .and_then(|list| super::sysfs::parse_cpu_list(&list))
            .map(|cpus| {
                cpus.into_iter()
                    .filter(|cpu| *cpu < Mask::count())
                    .collect()
            })
            .ok_or_else(|| Errno::EINVAL.into()),
        result => Ok(result?),
    }
}

/// The CPUs that threads of this process may be given, in order.
///
/// These are the CPUs of the calling thread now, and those that the process had
/// before it bound any of its threads: a thread that is bound to one CPU can
/// still start others elsewhere. Limits set by `taskset` or by the cpuset of a
/// control group are in this. Empty when the kernel does not tell.
pub(crate) fn process() -> Vec<usize> {
    let mut cpus = before_binding().to_vec();
    cpus.extend(current_thread().unwrap_or_default());
    cpus.sort_unstable();
    cpus.dedup();
    cpus
}

/// Taken by the first call, which [`bind_current_thread`] makes before it binds.
fn before_binding() -> &'static [usize] {
    static CPUS: OnceLock<Vec<usize>> = OnceLock::new();
    CPUS.get_or_init(|| {
        let mut cpus = current_thread().unwrap_or_default();
        // The application may have bound this thread; its main thread knows more.
        cpus.extend(mask_of(Pid::this()).unwrap_or_default());
        cpus
    })
}

/// Binds the calling thread to the given CPUs, all of them.
///
/// # Errors
///
/// `NonExistentCpus` for a CPU that does not exist, is offline, or that the
/// process may not use; `InsufficientCpus` for none at all. The thread is bound
/// as before then.
pub(crate) fn bind_current_thread(cpus: &[usize]) -> Result<(), ()> {
    before_binding();
    if cpus.is_empty() {
        return Err(GlommioError::BuilderError(
            BuilderErrorKind::InsufficientCpus {
                required: 1,
                available: 0,
            },
        ));
    }
    let unknown =
        |cpu: usize| GlommioError::BuilderError(BuilderErrorKind::NonExistentCpus { cpu });
    let failed = |errno: Errno| {
        GlommioError::create_enhanced(errno.into(), "Binding the thread to CPUs", None, None)
    };

    let mut wanted = Mask::new();
    for &cpu in cpus {
        wanted.set(cpu).map_err(|_| unknown(cpu))?;
    }
    let before = sched_getaffinity(THIS_THREAD);
    match sched_setaffinity(THIS_THREAD, &wanted) {
        Ok(()) => {}
        Err(Errno::EINVAL) => return Err(unknown(cpus[0])),
        Err(errno) => return Err(failed(errno)),
    }

    // The kernel drops CPUs that it does not have, as long as one remains.
    let Ok(now) = sched_getaffinity(THIS_THREAD) else {
        return Ok(());
    };
    match cpus.iter().find(|cpu| !now.is_set(**cpu).unwrap_or(false)) {
        None => Ok(()),
        Some(&missing) => {
            if let Ok(before) = before {
                sched_setaffinity(THIS_THREAD, &before).map_err(failed)?;
            }
            Err(unknown(missing))
        }
    }
}

/// Binds the thread again as it was bound when this was made, when it is dropped on that thread.
///
/// Does nothing where the kernel does not tell or refuses.
#[must_use]
pub(crate) struct RestoreBinding(Option<Mask>);

impl RestoreBinding {
    pub(crate) fn of_current_thread() -> RestoreBinding {
        before_binding();
        RestoreBinding(sched_getaffinity(THIS_THREAD).ok())
    }
}

impl Drop for RestoreBinding {
    fn drop(&mut self) {
        if let Some(mask) = &self.0 {
            let _ = sched_setaffinity(THIS_THREAD, mask);
        }
    }
}

/// Lets the calling thread run on every CPU of the process again: threads
/// inherit the binding of the thread that starts them, which is wrong for one
/// that is meant to be unbound.
///
/// Does nothing when the kernel refuses.
pub(crate) fn unbind_current_thread() {
    let mut mask = Mask::new();
    let mut any = false;
    for cpu in process() {
        any |= mask.set(cpu).is_ok();
    }
    if any {
        let _ = sched_setaffinity(THIS_THREAD, &mask);
    }
}

fn mask_of(thread: Pid) -> nix::Result<Vec<usize>> {
    let mask = sched_getaffinity(thread)?;
    Ok((0..Mask::count())
        .filter(|cpu| mask.is_set(*cpu).unwrap_or(false))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs on a thread of its own, so that the binding ends with the test.
    fn on_a_thread<R: Send>(f: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| scope.spawn(f).join().unwrap())
    }

    #[test]
    fn bound_thread_runs_where_it_was_bound() {
        on_a_thread(|| {
            let cpu = *current_thread().unwrap().last().unwrap();
            bind_current_thread(&[cpu]).unwrap();
            assert_eq!(current_thread().unwrap(), [cpu]);
        });
    }

    #[test]
    fn bound_thread_still_knows_the_cpus_of_its_process() {
        on_a_thread(|| {
            let all = process();
            assert!(!all.is_empty());
            bind_current_thread(&all[..1]).unwrap();
            assert_eq!(process(), all);
            unbind_current_thread();
            assert_eq!(current_thread().unwrap(), all);
        });
    }

    #[test]
    fn unknown_cpu_is_named_and_changes_nothing() {
        on_a_thread(|| {
            let before = current_thread().unwrap();
            for cpus in [vec![1023], vec![before[0], 1023], vec![usize::MAX]] {
                let error = bind_current_thread(&cpus).unwrap_err();
                let GlommioError::BuilderError(BuilderErrorKind::NonExistentCpus { cpu }) = error
                else {
                    panic!("another error: {error:?}");
                };
                assert_eq!(cpu, *cpus.last().unwrap());
                assert_eq!(current_thread().unwrap(), before);
            }
        });
    }

    #[test]
    fn a_binding_is_restored() {
        on_a_thread(|| {
            let before = current_thread().unwrap();
            let restore = RestoreBinding::of_current_thread();
            bind_current_thread(&before[..1]).unwrap();
            drop(restore);
            assert_eq!(current_thread().unwrap(), before);
        });
    }

    #[test]
    fn binding_to_no_cpu_is_refused() {
        assert!(matches!(
            bind_current_thread(&[]),
            Err(GlommioError::BuilderError(
                BuilderErrorKind::InsufficientCpus {
                    required: 1,
                    available: 0
                }
            ))
        ));
    }

    #[test]
    fn syscall_and_proc_agree() {
        on_a_thread(|| {
            let list = KernelFiles::host().status_field("thread-self", "Cpus_allowed_list");
            let list = super::super::sysfs::parse_cpu_list(&list.unwrap()).unwrap();
            assert_eq!(current_thread().unwrap(), list);
        });
    }
}
