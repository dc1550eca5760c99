-- DummyMessenger: the tables, and a view that shows whether the promises hold in them.
-- The server applies this file at start if a part of it is missing; `mysql DATABASE < schema.sql` does the same.
-- It runs unchanged on MySQL and on MariaDB, and may run repeatedly, and concurrently.

-- Makes the session independent of the database's settings, as for each connection of the server
-- (server/foundation/src/mysql/session.rs). The values hold until the session ends. A smaller character set would lose characters
-- of names, another SQL mode would change the meaning of statements, and without autocommit the lock would be rolled back.
SET NAMES utf8mb4 COLLATE utf8mb4_bin;
SET SESSION TRANSACTION READ WRITE;
SET SESSION
  autocommit = 1,
  completion_type = 0,
  sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',
  unique_checks = 1;

CREATE TABLE IF NOT EXISTS messages (
  -- Physical order of the inserts. A rollback leaves gaps, so it is not the number of the message.
  id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  -- Number among all messages: 1, 2, 3 … without a hole.
  seq        BIGINT UNSIGNED NOT NULL,
  user       VARCHAR(64)     NOT NULL,
  -- Number among the messages of this user: 1, 2, 3 … without a hole.
  user_seq   BIGINT UNSIGNED NOT NULL,
  text       VARCHAR(4096)   NOT NULL,
  -- UTC, by the clock of the database. Never goes back along seq.
  sent_at    DATETIME(6)     NOT NULL,
  -- The caller's Idempotency-Key, or a UUID that the server drew.
  request_id BINARY(16)      NOT NULL,

  -- Inserts append to the clustered index.
  PRIMARY KEY (id),
  -- Finds the last ten messages. Also a safeguard: if the numbering were wrong, the INSERT would fail; no number is used twice.
  UNIQUE KEY seq (seq),
  -- The same safeguard for the numbers of each user.
  UNIQUE KEY user_seq (user, user_seq),
  -- Deduplication: a message that is sent again after a lost answer is found, and cannot be stored a second time.
  UNIQUE KEY request_id (request_id)
)
ENGINE = InnoDB
-- Names are equal only code point by code point: Bob, bob and bób are three users.
DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS counters (
  -- A user's name. The row of the empty name counts all messages, and is the lock that every writer takes first.
  user         VARCHAR(64)     NOT NULL,
  messages     BIGINT UNSIGNED NOT NULL,
  -- The date of the last message; no later message gets an earlier one, whatever the clock says.
  last_sent_at DATETIME(6)     NOT NULL DEFAULT '1970-01-01 00:00:00',
  -- On the row of the empty name: how many repeated requests were answered from stored messages. A transaction
  -- that only found its messages writes here, so that its COMMIT flushes the log that contains them.
  repeats      BIGINT UNSIGNED NOT NULL DEFAULT 0,

  -- Sorted by name, so the row that is the lock comes first, and is locked first.
  PRIMARY KEY (user)
)
ENGINE = InnoDB
DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Empty as long as the promises hold; otherwise one row for each violation, with its kind and place.
CREATE OR REPLACE SQL SECURITY INVOKER VIEW ordering_violations AS
WITH
  ordered AS (
    SELECT
      seq, id, user, user_seq, sent_at,
      COALESCE(LAG(seq) OVER along_seq, 0)       AS previous_seq,
      COALESCE(LAG(id) OVER along_seq, 0)        AS previous_id,
      LAG(sent_at) OVER along_seq                AS previous_sent_at,
      COALESCE(LAG(user_seq) OVER along_user, 0) AS previous_user_seq
    FROM messages
    WINDOW
      along_seq  AS (ORDER BY seq, id),
      along_user AS (PARTITION BY user ORDER BY seq, id)
  ),
  counted AS (
    SELECT user, COUNT(*) AS messages FROM messages GROUP BY user
    UNION ALL
    SELECT '' AS user, COUNT(*) AS messages FROM messages
  )
SELECT
  CASE WHEN seq = previous_seq THEN 'duplicate seq' ELSE 'hole in seq' END AS violation,
  seq,
  user,
  CONCAT('seq ', seq, ' follows seq ', previous_seq)                       AS detail
FROM ordered
WHERE seq <> previous_seq + 1
UNION ALL
SELECT
  CASE WHEN user_seq = previous_user_seq THEN 'duplicate user_seq' ELSE 'hole in user_seq' END,
  seq,
  user,
  CONCAT('user_seq ', user_seq, ' follows user_seq ', previous_user_seq)
FROM ordered
WHERE user_seq <> previous_user_seq + 1
UNION ALL
SELECT
  'AUTO_INCREMENT order differs from seq order',
  seq,
  user,
  CONCAT('id ', id, ' follows id ', previous_id)
FROM ordered
WHERE id <= previous_id
UNION ALL
SELECT
  'sent_at goes back',
  seq,
  user,
  CONCAT('sent_at ', sent_at, ' follows sent_at ', previous_sent_at)
FROM ordered
WHERE sent_at < previous_sent_at
UNION ALL
SELECT
  'counter differs from messages',
  NULL,
  counted.user,
  CONCAT('counter ', COALESCE(counters.messages, 'missing'), ', messages ', counted.messages)
FROM counted
LEFT JOIN counters ON counters.user = counted.user
WHERE counters.messages IS NULL OR counters.messages <> counted.messages
UNION ALL
SELECT
  'counter without messages',
  NULL,
  counters.user,
  CONCAT('counter ', counters.messages, ', messages 0')
FROM counters
LEFT JOIN messages ON messages.user = counters.user
WHERE messages.user IS NULL AND counters.user <> '' AND counters.messages <> 0;

-- The lock. Inserted last, because the server concludes from its presence that the rest exists.
INSERT IGNORE INTO counters (user, messages) VALUES ('', 0);
-- The session that runs this file may have begun a transaction.
COMMIT;
