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
