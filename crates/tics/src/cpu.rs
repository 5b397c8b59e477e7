//! Processor time, and which cores a thread keeps to.

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::Pid;
use tics_record::Nanos;

/// User and system time of this process so far.
pub fn of_process() -> Nanos {
    of(UsageWho::RUSAGE_SELF)
}

/// User and system time of the calling thread so far.
pub fn of_thread() -> Nanos {
    of(UsageWho::RUSAGE_THREAD)
}

fn of(who: UsageWho) -> Nanos {
    // Fails for no `who` that exists.
    let Ok(usage) = getrusage(who) else { return Nanos::ZERO };
    let micros = |time: nix::sys::time::TimeVal| {
        time.tv_sec().unsigned_abs() * 1_000_000 + time.tv_usec().unsigned_abs()
    };
    Nanos::from_micros(micros(usage.user_time()) + micros(usage.system_time()))
}

/// The cores that the calling thread may run on.
#[derive(Debug, Clone)]
pub struct Cores(CpuSet);

impl Cores {
    /// Those allowed now.
    pub fn allowed() -> Result<Self, Errno> {
        sched_getaffinity(Pid::from_raw(0)).map(Cores)
    }

    /// Their numbers, ascending.
    pub fn numbers(&self) -> Vec<usize> {
        (0..CpuSet::count()).filter(|core| self.0.is_set(*core) == Ok(true)).collect()
    }

    /// Lets the calling thread, and those that it starts from now on, run on these.
    pub fn restore(&self) -> Result<(), Errno> {
        sched_setaffinity(Pid::from_raw(0), &self.0)
    }
}

/// Keeps the calling thread, and those that it starts from now on, to one core.
pub fn pin_to(core: usize) -> Result<(), Errno> {
    let mut only = CpuSet::new();
    only.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_starts_pinned_threads() {
        // On a thread of its own: the test runner's other tests are not to be pinned.
        let seen = std::thread::spawn(|| {
            let before = Cores::allowed().unwrap();
            let core = *before.numbers().last().unwrap();
            pin_to(core).unwrap();
            let child = std::thread::spawn(|| Cores::allowed().unwrap().numbers()).join().unwrap();
            before.restore().unwrap();
            (child, vec![core], Cores::allowed().unwrap().numbers() == before.numbers())
        });
        let (child, expect, restored) = seen.join().unwrap();
        assert_eq!(child, expect);
        assert!(restored);
    }

    #[test]
    fn time_is_spent() {
        let (process, thread) = (of_process(), of_thread());
        let mut sum = 0u64;
        while of_thread() == thread {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(of_process() > process);
    }
}
