//! Injects each fault into the system.

use std::error::Error;
use std::time::Duration;

use mysql::prelude::Queryable;
use testbed::{Action, DatabaseProcess, Part, interruption};

use crate::plan::Fault;
use crate::system::System;

/// How long to wait for a transaction. One comes soon under load, and none while the database is down.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a replica may take to finish accepted requests and stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// Rows that the foreign session writes, so that a deadlock rolls back the writer instead, whose transaction is smaller.
const FOREIGN_ROWS: u32 = 200;

impl System {
    /// Injects a fault, and reverts it. Returns how often it occurred; for cuts at random bytes, how many were set.
    pub(crate) fn inject(&mut self, fault: &Fault) -> Result<usize, Box<dyn Error>> {
        match fault {
            Fault::ReplicaKilled { replica, away } => {
                self.replicas[*replica].service.process.kill()?;
                interruption::sleep(*away)?;
                self.replicas[*replica].restart()?;
            }
            Fault::RollingRestart => self.restart_all()?,
            Fault::ReplicaFrozen { replica, time } => {
                self.replicas[*replica].service.process.freeze()?;
                self.thaw_after(*replica, *time)?;
            }
            Fault::ReplicaFrozenWithLock { replica, time } => {
                let proxy = &self.replicas[*replica].proxy;
                let locked = proxy.intercept(Part::Lock, Action::HoldReply);
                if !locked.reached(TRANSACTION_TIMEOUT) {
                    return Ok(0);
                }
                self.replicas[*replica].service.process.freeze()?;
                locked.release();
                self.thaw_after(*replica, *time)?;
            }
            Fault::DatabaseKilled { away } => {
                self.database.process()?.kill()?;
                interruption::sleep(*away)?;
                self.database.start()?;
            }
            Fault::DatabaseFrozen { time } => {
                self.database.process()?.freeze()?;
                let slept = interruption::sleep(*time);
                self.database.process()?.thaw()?;
                slept?;
            }
            Fault::DatabaseReadOnly { time } => {
                self.session()?.query_drop("SET GLOBAL read_only = 1")?;
                interruption::sleep(*time)?;
                self.session()?.query_drop("SET GLOBAL read_only = 0")?;
            }
            Fault::ConnectionsKilled { times, every } => {
                return self.kill_connections(*times, *every);
            }
            Fault::LockHeld { time } => {
                let mut holder = self.session()?;
                holder.query_drop("BEGIN")?;
                holder.query_drop("SELECT messages FROM counters WHERE user = '' FOR UPDATE")?;
                interruption::sleep(*time)?;
            }
            Fault::Deadlocks { times } => return self.deadlocks(*times),
            Fault::TransactionsCut { cuts } => {
                let mut done = 0;
                for (replica, part, action) in cuts {
                    let cut = self.replicas[*replica].proxy.intercept(*part, *action);
                    done += usize::from(cut.reached(TRANSACTION_TIMEOUT));
                    interruption::sleep(Duration::ZERO)?;
                }
                return Ok(done);
            }
            Fault::CutAtRandomBytes { cuts } => {
                let mut done = 0;
                for (replica, bytes) in cuts {
                    let proxy = &self.replicas[*replica].proxy;
                    proxy.cut_after_bytes(*bytes);
                    interruption::sleep(Duration::from_millis(300))?;
                    // With little traffic it could come during another fault, perhaps at a replica's start.
                    done += usize::from(!proxy.cancel_cut_after_bytes());
                }
                return Ok(done);
            }
        }
        Ok(1)
    }

    fn restart_all(&mut self) -> Result<(), Box<dyn Error>> {
        for replica in 0..self.replicas.len() {
            let service = &mut self.replicas[replica].service;
            service.process.terminate()?;
            match service.wait_timeout(STOP_TIMEOUT)? {
                Some(status) if status.success() => self.replicas[replica].restart()?,
                Some(status) => {
                    return Err(
                        format!("a replica that was asked to stop ended with {status}").into(),
                    );
                }
                None => {
                    return Err(format!("a replica does not stop within {STOP_TIMEOUT:?}").into());
                }
            }
        }
        Ok(())
    }

    fn thaw_after(&mut self, replica: usize, time: Duration) -> Result<(), Box<dyn Error>> {
        interruption::sleep(time)?;
        Ok(self.replicas[replica].service.process.thaw()?)
    }

    fn kill_connections(&self, times: u32, every: Duration) -> Result<usize, Box<dyn Error>> {
        let mut session = self.session()?;
        let mut killed = 0;
        for _ in 0..times {
            let ids: Vec<u64> = session.exec(
                "SELECT id FROM information_schema.processlist WHERE user = ?",
                (DatabaseProcess::USER,),
            )?;
            for id in ids {
                // The connection may be closed by now.
                killed += usize::from(session.query_drop(format!("KILL {id}")).is_ok());
            }
            interruption::sleep(every)?;
        }
        Ok(killed)
    }

    /// A foreign session locks a user's row, and then the row that every writer locks first.
    fn deadlocks(&self, times: u32) -> Result<usize, Box<dyn Error>> {
        let mut session = self.session()?;
        session
            .query_drop("CREATE TABLE IF NOT EXISTS mysql.chaos_weight (id INT) ENGINE = InnoDB")?;
        let rows = vec!["(1)"; FOREIGN_ROWS as usize].join(",");
        let before = count_deadlocks(&self.logs());
        for _ in 0..times {
            session.query_drop("BEGIN")?;
            session.query_drop(format!("INSERT INTO mysql.chaos_weight VALUES {rows}"))?;
            // The database may roll back either of the two.
            let _ =
                session.query_drop("SELECT messages FROM counters WHERE user = 'alice' FOR UPDATE");
            interruption::sleep(TRANSACTION_TIMEOUT / 20)?;
            let _ = session.query_drop("SELECT messages FROM counters WHERE user = '' FOR UPDATE");
            session.query_drop("ROLLBACK")?;
        }
        Ok(count_deadlocks(&self.logs()) - before)
    }
}

/// The number of deadlocks in the replicas' logs.
fn count_deadlocks(logs: &str) -> usize {
    logs.matches("ERROR 1213").count()
}
