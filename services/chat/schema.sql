-- The chat's tables: rooms, their messages, and the jobs between the web processes, messagers and workers.

CREATE TABLE IF NOT EXISTS rooms (
  id       INT UNSIGNED    NOT NULL AUTO_INCREMENT PRIMARY KEY,
  -- 64 characters at most; binary, because names that differ in any byte are names of different rooms
  name     VARBINARY(256)  NOT NULL,
  -- a transaction that stores a message locks this row until COMMIT, so that seq has no hole and messages appear in order
  last_seq BIGINT UNSIGNED NOT NULL DEFAULT 0,
  UNIQUE KEY name (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS messages (
  room_id  INT UNSIGNED    NOT NULL,
  seq      BIGINT UNSIGNED NOT NULL,
  -- the id of the message itself, or of the message that it answers
  id       BINARY(16)      NOT NULL,
  kind     ENUM('message', 'answer', 'proof', 'notice') NOT NULL,
  username VARCHAR(64)     NOT NULL,
  text     TEXT            NOT NULL,
  -- in JSON; only for the kind proof
  proof    TEXT            NULL,
  sent_at  DATETIME(6)     NOT NULL,
  PRIMARY KEY (room_id, seq),
  -- finds a message that is stored again after a COMMIT whose outcome was not known
  UNIQUE KEY request_id (room_id, id, kind)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Proofs that are requested and not shown yet. For each room the one with the lowest seq is in a queue, the others wait here.
CREATE TABLE IF NOT EXISTS proofs (
  room_id  INT UNSIGNED    NOT NULL,
  seq      BIGINT UNSIGNED NOT NULL,
  -- in JSON
  task     MEDIUMBLOB      NOT NULL,
  -- the result of the worker, in JSON, if the task is a call
  reply    MEDIUMBLOB      NULL,
  PRIMARY KEY (room_id, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

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
