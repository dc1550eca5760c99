-- Reports: the tables.
-- The programs apply this file at start if a part of it is missing; `mysql DATABASE < schema.sql` does the same.
-- It runs unchanged on MySQL and on MariaDB, and may run repeatedly, and concurrently.

-- Makes the session independent of the database's settings, as the schema of the messenger does.
SET NAMES utf8mb4 COLLATE utf8mb4_bin;
SET SESSION TRANSACTION READ WRITE;
SET SESSION
  autocommit = 1,
  completion_type = 0,
  sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',
  unique_checks = 1;

-- The source of truth: each call as it was loaded.
CREATE TABLE IF NOT EXISTS calls (
  id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  phone       BIGINT UNSIGNED NOT NULL,
  -- Milliseconds since 1970, UTC, as the source has them.
  started_at  BIGINT UNSIGNED NOT NULL,
  duration_ms INT UNSIGNED    NOT NULL,

  -- Inserts append to the clustered index.
  PRIMARY KEY (id),
  -- A covering index for a phone and a period: the rows are not read.
  KEY phone (phone, started_at, duration_ms)
)
ENGINE = InnoDB
DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- How many calls of each duration a phone has. Every figure of a report follows from it exactly. Written in the
-- transaction that writes the calls; `reports check` compares the two.
CREATE TABLE IF NOT EXISTS call_durations (
  phone       BIGINT UNSIGNED NOT NULL,
  duration_ms INT UNSIGNED    NOT NULL,
  calls       BIGINT UNSIGNED NOT NULL,

  PRIMARY KEY (phone, duration_ms)
)
ENGINE = InnoDB
DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The progress of each load. Written in the transaction of each chunk, so that a load that was interrupted continues where
-- it stopped, and none of its calls is stored twice.
CREATE TABLE IF NOT EXISTS loads (
  id              VARCHAR(255)    NOT NULL,
  -- What is loaded: the hash of all bytes before next_position, with which the source must begin to continue the load; or which
  -- calls are generated.
  source          VARCHAR(1024)   NOT NULL,
  -- The first byte of the source that is not loaded yet, or the first call of one that is generated.
  next_position   BIGINT UNSIGNED NOT NULL DEFAULT 0,
  calls           BIGINT UNSIGNED NOT NULL DEFAULT 0,
  malformed       BIGINT UNSIGNED NOT NULL DEFAULT 0,
  -- UTC, by the clock of the database.
  started_at      DATETIME(6)     NOT NULL,
  -- UTC, when all of the source was loaded.
  finished_at     DATETIME(6)     NULL,

  PRIMARY KEY (id)
)
ENGINE = InnoDB
DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Requested reports and their results. While a task has not ended, its progress is in the queue.
CREATE TABLE IF NOT EXISTS tasks (
  -- A UUID of version 7: newer ones are greater.
  id             BINARY(16)      NOT NULL,
  -- The client's Idempotency-Key, or one drawn by the server.
  request_id     BINARY(16)      NOT NULL,
  -- The client's own name for the task, in JSON: a string, a number or null.
  correlation_id VARBINARY(2048) NOT NULL,
  -- The request, in JSON.
  request        MEDIUMBLOB      NOT NULL,
  -- All times are UTC, by the clock of the database.
  received_at    DATETIME(6)     NOT NULL,
  -- `completed`, `error` or `cancelled`; NULL while the task has not ended.
  ended_as       VARBINARY(16)   NULL,
  -- When the last attempt began.
  started_at     DATETIME(6)     NULL,
  ended_at       DATETIME(6)     NULL,
  attempts       INT UNSIGNED    NOT NULL DEFAULT 0,
  error_message  TEXT            NULL,
  -- The figures, in JSON.
  report         MEDIUMBLOB      NULL,
  -- Microseconds that the worker took for the figures.
  work_us        INT UNSIGNED    NULL,

  PRIMARY KEY (id),
  UNIQUE KEY request_id (request_id),
  KEY ended_as (ended_as, id),
  KEY correlation_id (correlation_id(64), id)
)
ENGINE = InnoDB
DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The queue.
CREATE TABLE IF NOT EXISTS jobs (
  id           BINARY(16)    NOT NULL PRIMARY KEY,
  queue        VARBINARY(64) NOT NULL,
  payload      MEDIUMBLOB    NOT NULL,
  -- how often it was claimed
  attempt      INT UNSIGNED  NOT NULL DEFAULT 0,
  -- when it may be claimed: while it is, the end of the lease
  available_at DATETIME(6)   NOT NULL,
  enqueued_at  DATETIME(6)   NOT NULL,
  -- NULL while it waits
  claimed_at   DATETIME(6)   NULL,
  last_error   TEXT          NULL,
  KEY claim (queue, available_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The session that runs this file may have begun a transaction.
COMMIT;
