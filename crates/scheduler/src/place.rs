//! Where threads run and how urgent they are: better if the system allows it, never required.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

/// Processors for the pacer and for each worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    allowed: Vec<usize>,
}

impl Places {
    /// The processors that this process may use.
    pub(crate) fn of_process() -> Self {
        let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
        let allowed = (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect();
        Places { allowed }
    }

    /// The pacer's: the last, as the first serves most interrupts.
    pub(crate) fn pacer(&self) -> Option<usize> {
        self.allowed.last().copied()
    }

    /// That of worker `number`: the pacer's is left free where there is another.
    pub(crate) fn worker(&self, number: usize) -> Option<usize> {
        let free = &self.allowed[..self.allowed.len().saturating_sub(1)];
        let free = if free.is_empty() { &self.allowed[..] } else { free };
        free.get(number % free.len().max(1)).copied()
    }
}

/// Keeps the calling thread on `cpu`.
///
/// # Errors
/// One line, if the system does not allow it.
pub(crate) fn pin(cpu: Option<usize>) -> Result<(), String> {
    let cpu = cpu.ok_or("--pin: the processors of this process are not known")?;
    let mut set = CpuSet::new();
    set.set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|errno| format!("--pin: processor {cpu} is refused: {}", errno.desc()))
}

/// Lets the calling thread run before all ordinary ones.
///
/// # Errors
/// One line, if the system does not allow it.
pub(crate) fn realtime() -> Result<(), String> {
    let fifo = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    // Above ordinary threads is enough; the top is for the system's own.
    let priority = ThreadPriority::Crossplatform(10u8.try_into()?);
    set_thread_priority_and_policy(thread_native_id(), priority, fifo).map_err(|error| {
        format!("--realtime: refused ({error}); it takes root, CAP_SYS_NICE or an rtprio limit")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pacer_has_a_processor_to_itself_where_there_are_two() {
        let places = |allowed: &[usize]| Places { allowed: allowed.to_vec() };
        assert_eq!(places(&[2, 5, 7]).pacer(), Some(7));
        assert_eq!((0..3).map(|n| places(&[2, 5, 7]).worker(n)).collect::<Vec<_>>(), [2, 5, 2].map(Some));
        assert_eq!((places(&[3]).pacer(), places(&[3]).worker(1)), (Some(3), Some(3)));
        assert_eq!((places(&[]).pacer(), places(&[]).worker(0)), (None, None));
    }

    #[test]
    fn a_thread_stays_where_it_is_put() {
        let places = Places::of_process();
        std::thread::spawn(move || {
            pin(places.pacer()).unwrap();
            let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
            assert_eq!((0..CpuSet::count()).filter(|c| set.is_set(*c).unwrap()).count(), 1);
        })
        .join()
        .unwrap();
    }
}
