//! Two executors that wake each other in turn.

use super::Failure;
use super::clock::StepClock;
use super::executors::{repeat, start};
use super::mailbox::{Closed, mailbox};
use super::recorder::Sample;

/// Passes a number to and fro between executors on two CPUs (which may be the same).
pub fn cross_core_ping_pong(cpus: (usize, usize), clock: StepClock) -> Result<Sample, Failure> {
    let (ping, pinged) = mailbox();
    let (pong, ponged) = mailbox();

    let answering = start(cpus.1, move || async move {
        for round in 1.. {
            // The other side closes its mailbox when it is done, and when it fails.
            if pinged.reaches(round).await.is_err() {
                break;
            }
            pong.raise(round);
        }
        Ok(())
    })?;
    let asking = start(cpus.0, move || async move {
        let mut round = 0;
        repeat(clock, 1, async || {
            round += 1;
            ping.raise(round);
            let answer = ponged.reaches(round).await;
            answer.map_err(|Closed| Failure::from("the answering executor stopped"))
        })
        .await
    });

    // If the second executor did not start, its halves are dropped and the first one ends.
    let asked = asking.and_then(|running| running.join());
    let answered = answering.join();
    let sample = asked?;
    answered?;
    Ok(sample)
}
