-- Replaces `_profiles` and `_samples` for one query in which profiles are in several blocks (a retry, a
-- replica): the copies that `_excluded` lists do not count. Columns of `_excluded`: block UBIGINT,
-- series UINTEGER, ts BIGINT, profile_id UUID, row_start UBIGINT and row_count UINTEGER (the copy's rows in
-- its block's samples). Run only when it has rows, since the anti join reads three more columns of samples.

CREATE OR REPLACE TEMP VIEW _profiles AS
FROM _stored_profiles AS p
ANTI JOIN _excluded AS e
    ON e.block = p.block
    AND e.series = p.series
    AND e.ts = p.ts
    AND e.profile_id = p.profile_id;

-- Equality of block, series and time finds the copy; the row range tells it from another profile of the
-- same nanosecond.
CREATE OR REPLACE TEMP VIEW _samples AS
FROM _stored_samples AS s
ANTI JOIN _excluded AS e
    ON e.block = s.block
    AND e.series = s.series
    AND e.ts = s.ts
    AND s.file_row_number >= e.row_start
    AND s.file_row_number < e.row_start + e.row_count;
