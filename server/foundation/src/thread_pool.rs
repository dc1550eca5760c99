//! A pool of threads for work that may block.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::telemetry::Reporter;

/// Most idle threads that are kept. More would only cost memory, and starting a thread takes little time compared with the work
/// for which so many are needed.
const MAX_IDLE: usize = 16;

/// How long jobs may wait for a thread that turns out to be blocked, before another is woken or started.
const RELIEF_INTERVAL: Duration = Duration::from_millis(20);

/// A pool of named threads that handle jobs. Threads are started when there are jobs for them, up to a maximum, and end when
/// there are none; [`ThreadPool::join`] joins them.
pub struct ThreadPool<J> {
    shared: Arc<Shared<J>>,
    name: &'static str,
    max_threads: usize,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Rate-limits the log line about threads that cannot be started.
    failures: Reporter,
}

struct Shared<J> {
    state: Mutex<State<J>>,
    work: Condvar,
    /// Wakes [`ThreadPool::keep_relieved`].
    backlog: Condvar,
    handle: Box<dyn Fn(J) + Send + Sync>,
}

struct State<J> {
    jobs: VecDeque<J>,
    /// Threads that wait, or were woken but do not run yet.
    idle: usize,
    closed: bool,
}

/// Whether the system grants so many more threads: starts them all.
pub(crate) fn can_start(threads: usize) -> bool {
    let gate = Mutex::new(());
    std::thread::scope(|scope| {
        // The lock makes all of them exist at the same time.
        let _closed = gate.lock();
        (0..threads).all(|_| {
            let thread = std::thread::Builder::new();
            thread.spawn_scoped(scope, || drop(gate.lock())).is_ok()
        })
    })
}

impl<J: Send + 'static> ThreadPool<J> {
    /// A pool whose threads, `max_threads` at most, call `handle` with each job.
    pub fn new(
        name: &'static str,
        max_threads: usize,
        handle: impl Fn(J) + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            jobs: VecDeque::new(),
            idle: 0,
            closed: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            work: Condvar::new(),
            backlog: Condvar::new(),
            handle: Box::new(handle),
        });
        Self {
            shared,
            name,
            max_threads,
            threads: Mutex::new(Vec::new()),
            failures: Reporter::default(),
        }
    }

    /// Queues one job.
    pub fn submit(&self, job: J) {
        self.submit_all([job]);
    }

    /// Queues several jobs, in order, and wakes one thread for all of them: to take the next job costs a running thread much less
    /// than waking another one. If a job turns out to block, [`ThreadPool::keep_relieved`] wakes others.
    pub fn submit_all(&self, jobs: impl IntoIterator<Item = J>) {
        let mut state = self.shared.state.lock();
        state.jobs.extend(jobs);
        // One of them is for the thread that is woken now.
        let others_wait = state.jobs.len() > 1;
        drop(state);
        if others_wait {
            self.shared.backlog.notify_one();
        }
        self.wake_or_start();
    }

    /// Wakes or starts another thread now and then while jobs wait, until [`ThreadPool::join`]. Sleeps while there are none.
    pub fn keep_relieved(&self) {
        let mut state = self.shared.state.lock();
        while !state.closed {
            if state.jobs.is_empty() {
                self.shared.backlog.wait(&mut state);
            }
            MutexGuard::unlocked(&mut state, || std::thread::sleep(RELIEF_INTERVAL));
            if !state.jobs.is_empty() {
                MutexGuard::unlocked(&mut state, || self.wake_or_start());
            }
        }
    }

    /// The name of the pool, how many threads it has, and how many jobs wait for one.
    pub fn state(&self) -> (&'static str, usize, usize) {
        let jobs = self.shared.state.lock().jobs.len();
        let threads = self.threads.lock();
        let running = threads.iter().filter(|thread| !thread.is_finished());
        (self.name, running.count(), jobs)
    }

    fn wake_or_start(&self) {
        // A thread that is notified no longer counts as waiting, even before it runs: the next call notifies another.
        if self.shared.work.notify_one() {
            return;
        }
        let mut threads = self.threads.lock();
        threads.retain(|thread| !thread.is_finished());
        if threads.len() < self.max_threads {
            let shared = Arc::clone(&self.shared);
            let name = format!("{}-{}", self.name, threads.len());
            match std::thread::Builder::new()
                .name(name)
                .spawn(move || shared.work())
            {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    self.failures.report(|incident| {
                        tracing::error!(instance = %incident, %error, "cannot start another {} thread", self.name);
                    });
                }
            }
        }
    }

    /// Waits until the threads have finished all queued jobs and ended.
    pub fn join(&self) {
        self.shared.state.lock().closed = true;
        self.shared.work.notify_all();
        self.shared.backlog.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // A thread cannot panic: panics of jobs are caught.
            let _ = thread.join();
        }
    }
}

impl<J> Shared<J> {
    fn work(&self) {
        while let Some(job) = self.next_job() {
            if catch_unwind(AssertUnwindSafe(|| (self.handle)(job))).is_err() {
                tracing::error!("a job panicked; its thread goes on");
            }
        }
    }

    fn next_job(&self) -> Option<J> {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed || state.idle >= MAX_IDLE {
                return None;
            }
            state.idle += 1;
            self.work.wait(&mut state);
            state.idle -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_job_that_panics_does_not_cost_its_thread() {
        let (done, results) = channel();
        let workers = ThreadPool::new("test", 1, move |job: u32| {
            assert!(job != 0, "a job that panics");
            done.send(job).expect("the test waits");
        });
        workers.submit_all([0, 1, 0, 2]);
        assert_eq!(results.recv_timeout(PATIENCE), Ok(1));
        assert_eq!(results.recv_timeout(PATIENCE), Ok(2));
    }

    #[test]
    fn jobs_behind_one_that_blocks_are_done_by_another_thread() {
        let (unblock, blocked) = channel::<()>();
        let blocked = Mutex::new(blocked);
        let (done, results) = channel();
        let workers = Arc::new(ThreadPool::new("test", 2, move |job: u32| {
            if job == 0 {
                let _ = blocked.lock().recv_timeout(PATIENCE);
            }
            done.send(job).expect("the test waits");
        }));
        let relief = {
            let workers = Arc::clone(&workers);
            std::thread::spawn(move || workers.keep_relieved())
        };
        workers.submit_all([0, 1, 2]);
        assert_eq!(results.recv_timeout(PATIENCE), Ok(1));
        assert_eq!(results.recv_timeout(PATIENCE), Ok(2));
        unblock.send(()).expect("the job waits");
        assert_eq!(results.recv_timeout(PATIENCE), Ok(0));
        workers.join();
        relief.join().expect("it does not panic");
    }

    #[test]
    fn threads_beyond_the_idle_ones_end_and_are_started_again() {
        let (max, gate) = (3 * MAX_IDLE, Arc::new(Barrier::new(3 * MAX_IDLE + 1)));
        let workers = ThreadPool::new("test", max, {
            let gate = Arc::clone(&gate);
            move |()| {
                gate.wait();
            }
        });
        let running = || {
            let threads = workers.threads.lock();
            threads
                .iter()
                .filter(|thread| !thread.is_finished())
                .count()
        };
        for _ in 0..3 {
            (0..max).for_each(|_| workers.submit(()));
            let start = Instant::now();
            while running() < max {
                assert!(start.elapsed() < PATIENCE);
            }
            gate.wait();
            while running() > MAX_IDLE {
                assert!(start.elapsed() < PATIENCE);
            }
        }
    }

    #[test]
    fn joining_waits_for_all_that_was_submitted() {
        let (done, results) = channel();
        let workers = ThreadPool::new("test", 4, move |job: u32| {
            done.send(job).expect("the test waits");
        });
        (0..100).for_each(|job| workers.submit(job));
        workers.join();
        let mut jobs: Vec<u32> = results.try_iter().collect();
        jobs.sort_unstable();
        assert!(jobs.into_iter().eq(0..100));
    }
}
