//! The contenders of this package.

use crate::Contender;
use crate::ours::Glommio;
use crate::raw::{Raw, RawMsgRing, RawMultishot};

/// glommio and the kernel by hand, in the order in which they take turns.
pub fn contenders() -> Vec<&'static dyn Contender> {
    vec![&Raw, &RawMultishot, &RawMsgRing, &Glommio]
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;
    use crate::contender::find;
    use crate::{Setting, Workload};

    #[test]
    fn every_name_is_found_and_others_are_refused_with_the_list() {
        let all = contenders();
        for contender in &all {
            assert_eq!(
                find(&all, contender.name()).unwrap().name(),
                contender.name()
            );
        }
        assert!(
            find(&all, "nobody")
                .err()
                .unwrap()
                .contains("raw-multishot")
        );
    }

    #[test]
    fn what_a_contender_does_not_take_is_refused() {
        let setting = Setting {
            cpus: vec![0],
            file: PathBuf::new(),
        };
        for contender in contenders() {
            for workload in Workload::ALL {
                if !contender.takes(workload) && !matches!(workload, Workload::Echo { .. }) {
                    let refusal = contender.run(workload, 1, &setting).unwrap_err();
                    assert_eq!(refusal.kind(), io::ErrorKind::Unsupported);
                }
            }
        }
    }
}
