-- The chat's tables: rooms, what was said in them, and the work between the outer and the inner processes.

CREATE TABLE IF NOT EXISTS rooms (
  id       INT UNSIGNED    NOT NULL AUTO_INCREMENT PRIMARY KEY,
  -- 64 characters at most; binary, as names that differ in anything are names of different rooms
  name     VARBINARY(256)  NOT NULL,
  -- who writes into the room locks this row until COMMIT, so that seq has no hole and is shown in order
  last_seq BIGINT UNSIGNED NOT NULL DEFAULT 0,
  UNIQUE KEY name (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS messages (
  room_id  INT UNSIGNED    NOT NULL,
  seq      BIGINT UNSIGNED NOT NULL,
  -- of the message itself, or of the one that it answers
  id       BINARY(16)      NOT NULL,
  kind     ENUM('message', 'answer', 'proof', 'notice') NOT NULL,
  username VARCHAR(64)     NOT NULL,
  text     TEXT            NOT NULL,
  -- in JSON, of the kind proof only
  proof    TEXT            NULL,
  sent_at  DATETIME(6)     NOT NULL,
  PRIMARY KEY (room_id, seq),
  -- what is written again, after a COMMIT whose outcome was not known, is found by it
  UNIQUE KEY request_id (room_id, id, kind)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Proofs that are asked for and not shown. Of each room the one with the least seq is in a queue, the others wait here.
CREATE TABLE IF NOT EXISTS proofs (
  room_id  INT UNSIGNED    NOT NULL,
  seq      BIGINT UNSIGNED NOT NULL,
  -- in JSON
  task     MEDIUMBLOB      NOT NULL,
  -- what a worker made of it, in JSON, if it is a call
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
