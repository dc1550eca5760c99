//! The peer, or the way to it, breaks down. No caller notices, and nothing is lost or stored twice.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use uuid::Uuid;

use crate::harness::{
    Database, Door, Exchange, Load, Relay, Replica, Standing, Toll, assert_promises, eventually,
    lasting_address,
};

use super::{PATIENT, counted, giver, handed_over, one_batch, stored, wait_until_found};

/// Messages after which a load is well under way, or again.
const SOME: usize = 100;
/// The shortest that there is: a giver waits for its peer for half of it.
const HASTY: [&str; 2] = ["--database-timeout", "2s"];
const HALF: Duration = Duration::from_secs(1);
/// For a loaded machine.
const SLACK: Duration = Duration::from_secs(5);

fn assert_kept(database: &Database, exchanges: &[Exchange]) {
    assert_promises(exchanges);
    assert_eq!(database.count(), exchanges.len() as u64);
    database.assert_in_order();
}

/// Messages of unknown outcome of which more is known by now, or nothing ever will be.
fn resolved(replica: &Replica) -> u64 {
    ["stored", "not_stored", "given_up"]
        .map(|fate| format!(r#"unknown_outcomes_resolved_total{{as="{fate}"}}"#))
        .map(|metric| counted(replica, &metric))
        .iter()
        .sum()
}

/// Waits until a giver hands over again.
fn wait_until_handed_over(giver: &Replica) {
    let before = handed_over(giver);
    eventually("batches are handed over", || handed_over(giver) > before);
}

/// The peer goes away twice under load, as `end` has it, and comes back at its address. No caller may fail.
fn assert_nobody_misses_the_peer(end: impl Fn(&mut Replica)) {
    let database = Database::new();
    let address = lasting_address();
    let start = || Replica::start_with(&database, &["--listen", &address]);
    let mut taker = start();
    let givers = [giver(&database, taker.address(), &[])];
    let load = Load::start(&givers, 12);
    for round in 2..=3 {
        wait_until_handed_over(&givers[0]);
        load.goes_on(SOME);
        end(&mut taker);
        load.goes_on(SOME);
        taker = start();
        wait_until_found(&givers[0], round);
    }
    wait_until_handed_over(&givers[0]);
    assert_kept(&database, &load.finish_without_failures());
}

#[test]
fn a_peer_that_is_killed_and_started_again_costs_no_caller_an_answer() {
    assert_nobody_misses_the_peer(Replica::kill);
}

#[test]
fn a_peer_that_stops_under_load_costs_no_caller_an_answer() {
    assert_nobody_misses_the_peer(|taker| {
        taker.terminate();
        assert_eq!(taker.exit_status().code(), Some(0), "{}", taker.log());
    });
}

#[test]
fn a_peer_killed_with_callers_of_its_own_loses_nothing_of_either() {
    let database = Database::new();
    let address = lasting_address();
    let start = || Replica::start_with(&database, &["--listen", &address]);
    let taker = start();
    let mut replicas = [giver(&database, taker.address(), &[]), taker];
    let load = Load::start(&replicas, 12);
    for round in 2..=3 {
        load.goes_on(SOME);
        replicas[1].kill();
        load.goes_on(SOME);
        replicas[1] = start();
        wait_until_found(&replicas[0], round);
    }
    load.goes_on(SOME);
    assert_kept(&database, &load.finish());
}

#[test]
fn a_giver_that_is_killed_loses_nothing_that_was_answered() {
    let database = Database::new();
    let taker = Replica::start(&database);
    let to = taker.address();
    let mut replicas = [giver(&database, to, &[]), taker];
    let load = Load::start(&replicas, 12);
    for _ in 0..2 {
        load.goes_on(SOME);
        replicas[0].kill();
        load.goes_on(SOME);
        replicas[0] = giver(&database, to, &[]);
        load.moved(0, &replicas[0]);
    }
    load.goes_on(SOME);
    assert_kept(&database, &load.finish());
}

#[test]
fn a_peer_frozen_under_load_costs_no_caller_an_answer() {
    let database = Database::new();
    let taker = Replica::start_with(&database, &HASTY);
    let givers = [giver(&database, taker.address(), &HASTY)];
    let load = Load::start(&givers, 12);
    wait_until_handed_over(&givers[0]);
    taker.freeze();
    load.goes_on(SOME);
    taker.thaw();
    wait_until_found(&givers[0], 2);
    wait_until_handed_over(&givers[0]);
    assert_kept(&database, &load.finish_without_failures());
}

#[test]
fn a_giver_frozen_while_its_peer_stores_answers_with_the_number_of_then() {
    let database = Database::new();
    let taker = Replica::start_with(&database, &PATIENT);
    let giver = giver(&database, taker.address(), &HASTY);
    let holder = database.hold_the_lock();
    let mut here = giver.caller();
    here.send_post("ann", "x", "");
    database.wait_for_a_writer(None);
    giver.freeze();
    drop(holder);
    eventually("the peer stores it", || stored(&taker) == 1);
    let later = taker.caller().post("bob", "y");
    assert_eq!(later.own_seq(), 2);
    // The answer is there, and so is the end of the wait for it.
    std::thread::sleep(HALF);
    giver.thaw();
    assert_eq!(here.receive().own_seq(), 1);
    assert_eq!(stored(&giver), 0);
    assert_eq!(database.count(), 2);
    database.assert_in_order();
}

#[test]
fn a_peer_frozen_with_messages_in_its_memory_holds_callers_up_for_half_the_database_timeout() {
    let database = Database::new();
    let taker = Replica::start_with(&database, &PATIENT);
    let giver = giver(&database, taker.address(), &HASTY);
    let holder = database.hold_the_lock();
    let (mut here, mut there) = (giver.caller(), taker.caller());
    there.send_post("bob", "is with the peer's writer", "");
    let writer = database.wait_for_a_writer(None);
    here.send_post("ann", "waits behind it", "");
    let start = Instant::now();
    eventually("it is handed over", || {
        counted(&taker, "queue_messages") == 1
    });
    taker.freeze();
    // Else the frozen one would get the lock.
    let killed = database.connect().query_drop(format!("KILL {writer}"));
    killed.expect("the user may kill its connections");
    drop(holder);
    assert_eq!(here.receive().own_seq(), 1);
    let waited = start.elapsed();
    assert!(waited < HALF + SLACK, "{waited:?}");
    assert!(giver.log().contains("trouble=peer outcome_unknown=true"));

    taker.thaw();
    assert_eq!(there.receive().own_seq(), 2);
    // Nobody waits any more for the message in its memory.
    eventually("the peer drops it", || {
        counted(&taker, r#"messages_refused_total{reason="late"}"#) == 1
    });
    wait_until_found(&giver, 2);
    assert_eq!(stored(&giver), 1);
    // On a slow machine the peer may be too slow for the first one after.
    let mut last = 2;
    eventually("it is handed over to again", || {
        last += 1;
        assert_eq!(here.post("ann", "after that").own_seq(), last);
        handed_over(&giver) == 1
    });
    assert_eq!(database.count(), last);
    database.assert_in_order();
}

#[test]
fn a_batch_or_an_answer_lost_on_the_way_stores_each_message_once() {
    const NO_REPLIES: &str =
        "HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{\"messages\":[],\"replies\":[]}";
    const ELSEWHERE: &str = "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n";
    const DEFECT: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
    let database = Database::new();
    let taker = Replica::start(&database);
    let relay = Relay::to(&taker);
    let giver = giver(&database, relay.address(), &[]);
    let tolls = [
        Toll::CutBatch,
        Toll::LoseAnswer,
        Toll::CutAnswer,
        Toll::Forge(NO_REPLIES),
        Toll::Forge(ELSEWHERE),
        Toll::Forge(DEFECT),
        Toll::Forge("SSH-2.0-x\r\n\r\n"),
    ];
    let mut caller = giver.caller();
    for (round, toll) in tolls.into_iter().enumerate() {
        let key = Uuid::new_v4().to_string();
        let before = (stored(&taker), stored(&giver));
        let paid = relay.take_toll(toll);
        // With an id of the caller's, and with one of the giver's.
        let reply = match round % 2 {
            0 => caller.post_with_key("ann", "x", &key),
            _ => caller.post("ann", "x"),
        };
        paid.wait();
        let (seq, found) = (2 * round as u64 + 1, round + 2);
        assert_eq!(reply.own_seq(), seq, "{toll:?}");
        let by_peer = u64::from(!matches!(toll, Toll::CutBatch));
        let after = (before.0 + by_peer, before.1 + 1 - by_peer);
        assert_eq!((stored(&taker), stored(&giver)), after, "{toll:?}");

        wait_until_found(&giver, found);
        if round % 2 == 0 {
            let repeated = caller.post_with_key("ann", "x", &key);
            assert_eq!(repeated.body, reply.body, "{toll:?}");
        }
        assert_eq!(caller.post("ann", "after that").own_seq(), seq + 1);
    }
    assert_eq!(
        counted(&giver, "unknown_outcomes_total"),
        tolls.len() as u64
    );
    assert_eq!(resolved(&giver), tolls.len() as u64);
    assert_eq!(database.count(), 2 * tolls.len() as u64);
    database.assert_in_order();
}

#[test]
fn a_peer_that_is_of_no_use_is_tried_less_and_less_often() {
    let database = Database::new();
    let taker = Replica::start(&database);
    let relay = Relay::to(&taker);
    let giver = giver(&database, relay.address(), &[]);
    let mut caller = giver.caller();
    let start = Instant::now();
    for round in 0..3 {
        let paid = relay.take_toll(Toll::LoseAnswer);
        assert_eq!(caller.post("ann", "x").own_seq(), round + 1);
        paid.wait();
        wait_until_found(&giver, 2 + usize::try_from(round).expect("it is small"));
    }
    let pauses = Duration::from_millis(200 + 400 + 800);
    assert!(start.elapsed() >= pauses, "{:?}", start.elapsed());
    caller.post("ann", "is of use");
    assert_eq!(handed_over(&giver), 1);
}

#[test]
fn connections_of_the_peer_to_the_database_cut_at_any_moment_cost_no_caller_an_answer() {
    let database = Database::new();
    let proxy = database.proxy();
    let taker = Replica::start_at(&database.url_through(&proxy), &[]);
    let givers = [giver(&database, taker.address(), &[])];
    let load = Load::start(&givers, 12);
    for _ in 0..20 {
        load.goes_on(20);
        proxy.cut_all();
    }
    assert_kept(&database, &load.finish_without_failures());
    assert_ne!(
        counted(&taker, r#"batch_failures_total{cause="connection"}"#),
        0
    );
}

#[test]
fn a_peer_whose_host_of_the_database_takes_no_writes_costs_no_caller_an_answer() {
    let database = Database::new();
    let door = Door::new(&database, Standing::TakesWrites);
    let taker = Replica::start_at(&door.url(), &HASTY);
    let giver = giver(&database, taker.address(), &HASTY);
    let mut caller = giver.caller();
    assert_eq!(caller.post("ann", "x").own_seq(), 1);
    door.set(Standing::ReadOnly);
    for seq in 2..=4 {
        assert_eq!(caller.post("ann", "x").own_seq(), seq);
    }
    door.set(Standing::TakesWrites);
    eventually("the peer stores again", || {
        caller.post("ann", "x");
        stored(&taker) > 1
    });
    assert_eq!(database.count(), stored(&taker) + stored(&giver));
    database.assert_in_order();
}

#[test]
fn a_caller_whose_message_the_peer_may_still_store_is_told_504_and_never_503() {
    let database = Database::new();
    let taker = Replica::start_with(&database, &PATIENT);
    let relay = Relay::to(&taker);
    // Each attempt ends before the wait of the caller, and the peer has time enough to begin.
    let options = ["--database-timeout", "4s", "--request-timeout", "2500ms"];
    let giver = giver(&database, relay.address(), &options);
    let mut caller = giver.caller();
    assert_eq!(caller.post("ann", "first").own_seq(), 1);

    // Whoever gets the lock sees that the message is not there, and waits in vain for the number.
    let mut rival = database.connect();
    rival.query_drop("BEGIN").expect("the connection is up");
    rival
        .query_drop(
            "INSERT INTO messages (seq, user, user_seq, text, sent_at, request_id)
             VALUES (2, 'rival', 1, 'x', NOW(6), REPEAT('r', 16))",
        )
        .expect("the number is free");
    let key = Uuid::new_v4().to_string();
    let held = relay.take_toll(Toll::HoldBatch);
    let answer = caller.post_with_key("ann", "second", &key);
    held.wait();
    assert_eq!(answer.status, 504, "{answer:?}");
    assert!(
        giver.log().contains("trouble=lock_timeout"),
        "{}",
        giver.log()
    );
    assert_eq!(resolved(&giver), counted(&giver, "unknown_outcomes_total"));

    drop(rival);
    held.let_go();
    assert_eq!(database.count(), 2);
    assert_eq!(stored(&taker), 2);
    for replica in [&giver, &taker] {
        let repeated = replica.caller().post_with_key("ann", "second", &key);
        assert_eq!(repeated.own_seq(), 2);
    }
    database.assert_in_order();
}

#[test]
fn a_caller_whose_message_never_reached_the_peer_is_told_503() {
    let database = Database::new();
    let mut taker = Replica::start(&database);
    let options = [&HASTY[..], &["--request-timeout", "500ms"]].concat();
    let giver = giver(&database, taker.address(), &options);
    taker.kill();
    let holder = database.hold_the_lock();
    let answer = giver.caller().post("ann", "too late");
    assert_eq!(answer.status, 503, "{answer:?}");
    drop(holder);
    assert_eq!(giver.caller().post("ann", "in time").own_seq(), 1);
    assert_eq!(database.count(), 1);
    assert_eq!(counted(&giver, "unknown_outcomes_total"), 0);
}

#[test]
fn a_batch_for_which_the_peer_has_not_enough_room_is_stored_by_the_giver_and_costs_neither_anything()
 {
    let database = Database::new();
    let options = [&PATIENT[..], &["--queue-messages", "2"]].concat();
    let taker = Replica::start_with(&database, &options);
    let giver = giver(&database, taker.address(), &PATIENT);
    let callers = one_batch(&database, &giver, &[("ann", "x", ""); 3]);
    for (mut caller, seq) in callers.into_iter().zip(2..) {
        assert_eq!(caller.receive().own_seq(), seq);
    }
    // It is not taken for lost.
    assert_eq!(giver.caller().post("ann", "fits").own_seq(), 5);
    assert_eq!((handed_over(&giver), stored(&giver)), (2, 3));
    assert_eq!(stored(&taker), 2);
    assert_eq!(counted(&giver, "unknown_outcomes_total"), 0);
    assert!(!giver.log().contains("WARN"), "{}", giver.log());
    assert!(!taker.log().contains("WARN"), "{}", taker.log());
    database.assert_in_order();
}

#[test]
fn a_message_that_the_database_refuses_harms_no_other_in_a_batch_that_is_handed_over() {
    let database = Database::new();
    let taker = Replica::start_with(&database, &PATIENT);
    let giver = giver(&database, taker.address(), &PATIENT);
    database
        .connect()
        .query_drop("ALTER TABLE messages ADD CONSTRAINT refusal CHECK (text <> 'refuse me')")
        .expect("the table is there");
    let texts = ["0", "1", "refuse me", "3", "4"];
    let callers = one_batch(&database, &giver, &texts.map(|text| ("ann", text, "")));
    for (mut caller, text) in callers.into_iter().zip(texts) {
        let reply = caller.receive();
        if text == "refuse me" {
            assert_eq!(reply.status, 500, "{reply:?}");
        } else {
            assert_eq!(reply.own()["text"], text);
        }
    }
    assert_eq!((stored(&taker), stored(&giver)), (5, 0));
    assert_eq!(resolved(&giver), counted(&giver, "unknown_outcomes_total"));
    assert_eq!(database.count(), 5);
    database.assert_in_order();
}
