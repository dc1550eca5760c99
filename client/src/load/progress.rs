//! Draws a progress bar on stderr during the run, if stderr is a terminal.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;

use super::{Amount, Shared};

/// The time between two redraws: ten per second look smooth, and do not disturb the measurement.
const INTERVAL: Duration = Duration::from_millis(100);

/// A progress bar that is drawn until it is stopped.
#[derive(Debug)]
pub(super) struct Progress {
    task: JoinHandle<()>,
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn show(shared: &Arc<Shared>) -> Self {
        let load = &shared.load;
        let target = if load.quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let (total, unit) = match load.amount() {
            Amount::Requests(_) => (load.expected_requests(), "requests"),
            Amount::Time(time) => (u64::try_from(time.as_millis()).unwrap_or(u64::MAX), "ms"),
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let template = format!("{{bar:40}} {{pos}}/{{len}} {unit}  {{msg}}  {{eta}} left");
        bar.set_style(ProgressStyle::with_template(&template).expect("the template is right"));
        let task = tokio::spawn(draw(bar.clone(), Arc::clone(shared)));
        Self { task, bar }
    }

    /// Removes the bar from the terminal.
    pub(super) async fn stop(self) {
        self.task.abort();
        // The task's share of the run's state is dropped only when the task has ended.
        drop(self.task.await);
        self.bar.finish_and_clear();
    }
}

async fn draw(bar: ProgressBar, shared: Arc<Shared>) {
    if bar.is_hidden() {
        return;
    }
    let mut interval = tokio::time::interval(INTERVAL);
    loop {
        interval.tick().await;
        let (count, elapsed) = (
            shared.recorder().count() as u64,
            shared.clock.now() / 1_000_000,
        );
        bar.set_position(if let Amount::Time(_) = shared.load.amount() {
            elapsed
        } else {
            count
        });
        bar.set_message(format!("{}/s", count * 1000 / elapsed.max(1)));
    }
}
