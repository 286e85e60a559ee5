"""What a stranger may try with SQL, and what the answer says: a part of the message, or `HARMLESS`.

`{other}` is a file of another tenant's block, `{own}` one of the tenant's own, `{store}` the store's directory, `{link}`
a link in the own block's directory to the other tenant's file, `{never}` a file that must not come to be.
"""

from __future__ import annotations

HARMLESS = ""
"""It is answered, with nothing of others and no file written."""

NOT_A_QUERY = "only queries are allowed here"
NO_FILES = "file system operations are disabled|does not exist|Cannot access"

WITH_COPY = "WITH x AS (COPY (SELECT 7 AS z) TO '{own}' (FORMAT parquet, USE_TMP_FILE false))"
QUOTED = WITH_COPY.replace("'", "''")

WRITING = {
    "COPY (SELECT 1) TO '{never}'": NOT_A_QUERY,
    "COPY (SELECT 1) TO '{own}'": NOT_A_QUERY,
    "COPY profiles TO '{never}' (FORMAT csv)": NOT_A_QUERY,
    "COPY (PIVOT (SELECT 1 AS a, 2 AS b) ON a USING sum(b)) TO '{own}'": NOT_A_QUERY,
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{own}'": NOT_A_QUERY,
    "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{never}'": NOT_A_QUERY,
    "EXPLAIN ANALYZE COPY (PIVOT (SELECT 1 AS a, 2 AS b) ON a USING sum(b)) TO '{own}'": NOT_A_QUERY,
    "FROM query('COPY (SELECT 1) TO ''{own}''')": "Expected a single SELECT statement",
    f"{WITH_COPY} FROM x": NOT_A_QUERY,
    f"{WITH_COPY} SELECT 1": NOT_A_QUERY,
    f"EXPLAIN ANALYZE {WITH_COPY} SELECT 1": NOT_A_QUERY + "|top level",
    f"EXPLAIN {WITH_COPY} SELECT 1": NOT_A_QUERY + "|top level",
    f"{WITH_COPY} PIVOT (SELECT 1 AS a, 2 AS b) ON a USING sum(b)": "do not go together",
    f"SELECT ({WITH_COPY} SELECT 1)": "must be at the top level",
    f"FROM query('{QUOTED} SELECT 1')": "must be at the top level",
    f"FROM json_execute_serialized_sql(json_serialize_sql('{QUOTED} SELECT 1'))": NOT_A_QUERY,
    f"PIVOT (FROM json_execute_serialized_sql(json_serialize_sql('{QUOTED} SELECT 1 AS a'))) ON a USING count(*)": (
        "do not go together"
    ),
    "PIVOT (FROM query('FROM json_exe' || 'cute_serialized_sql(''x'')')) ON a USING count(*)": (
        "do not go together"
    ),
    f"PRAGMA json_execute_serialized_sql(json_serialize_sql('{QUOTED} SELECT 1'))": NOT_A_QUERY,
    "COPY FROM DATABASE memory TO other": NOT_A_QUERY,
    "EXPORT DATABASE '{never}'": NOT_A_QUERY,
    "IMPORT DATABASE '{store}'": NOT_A_QUERY + "|No such file|Cannot open|disabled|Cannot access",
    "CREATE TABLE mine AS FROM profiles": NOT_A_QUERY,
    "CREATE TABLE mine AS PIVOT (SELECT 1 AS a, 2 AS b) ON a USING sum(b)": NOT_A_QUERY,
    "CREATE OR REPLACE VIEW profiles AS SELECT 1": NOT_A_QUERY,
    "CREATE MACRO top(x) AS TABLE SELECT 1": NOT_A_QUERY,
    "CREATE TEMP TABLE mine (a INT)": NOT_A_QUERY,
    "INSERT INTO _blocks VALUES (1)": NOT_A_QUERY,
    "DELETE FROM profiles": NOT_A_QUERY,
    "UPDATE profiles SET total = 0": NOT_A_QUERY,
    "MERGE INTO profiles USING series ON true WHEN MATCHED THEN DELETE": NOT_A_QUERY,
    "DROP VIEW profiles": NOT_A_QUERY,
    "ALTER VIEW profiles RENAME TO p": NOT_A_QUERY,
    "TRUNCATE profiles": NOT_A_QUERY,
    "WITH gone AS (DELETE FROM profiles RETURNING *) SELECT count(*) FROM gone": "read-only|Can only delete",
    "WITH new AS (INSERT INTO _blocks VALUES (1) RETURNING *) FROM new": "read-only|not|Can only",
    "SELECT nextval('numbers')": "does not exist",
    "VACUUM": NOT_A_QUERY,
    "CHECKPOINT": NOT_A_QUERY,
}

READING = {
    "SELECT * FROM read_parquet('{other}')": NO_FILES,
    "SELECT * FROM parquet_scan('{other}')": NO_FILES,
    "SELECT * FROM parquet_metadata('{other}')": NO_FILES,
    "SELECT * FROM parquet_schema('{other}')": NO_FILES,
    "SELECT * FROM '{other}'": NO_FILES,
    'SELECT * FROM "{other}"': NO_FILES,
    "SELECT * FROM read_parquet('{own}/../../../../two/blocks/*/profiles.parquet')": NO_FILES,
    "SELECT * FROM read_parquet(['{own}', '{other}'])": NO_FILES,
    "SELECT * FROM read_parquet('{store}/*/blocks/*/profiles.parquet')": NO_FILES,
    "SELECT * FROM read_blob('{link}')": NO_FILES,
    "SELECT * FROM read_text('{store}/two/catalog/1.json')": NO_FILES,
    "SELECT * FROM read_json('{store}/two/catalog/*.json')": NO_FILES,
    "SELECT * FROM read_ndjson_objects('/etc/hostname')": NO_FILES,
    "SELECT * FROM read_text('/etc/passwd')": NO_FILES,
    "SELECT * FROM read_csv('/etc/passwd')": NO_FILES,
    "SELECT * FROM read_csv_auto('/proc/self/environ')": NO_FILES,
    "SELECT * FROM read_blob('/proc/self/maps')": NO_FILES,
    "SELECT * FROM read_blob('file:///etc/passwd')": NO_FILES,
    "SELECT * FROM read_text('/dev/stdin')": NO_FILES,
    "SELECT * FROM sniff_csv('/etc/passwd')": NO_FILES,
    "SELECT * FROM glob('{store}/**')": NO_FILES,
    "SELECT * FROM glob('/*')": NO_FILES,
    "SELECT * FROM query('FROM read_text(''/etc/passwd'')')": NO_FILES,
    "SELECT * FROM query_table('{other}')": NO_FILES,
    "SELECT * FROM query_table(['profiles', '/etc/passwd'])": NO_FILES,
    "EXPLAIN ANALYZE SELECT * FROM read_text('/etc/passwd')": NO_FILES,
    "SELECT * FROM read_parquet('http://127.0.0.1:9/x.parquet')": "disabled|httpfs|Cannot access",
    "SELECT * FROM read_csv('https://127.0.0.1:9/x.csv')": "disabled|httpfs|Cannot access",
    "SELECT * FROM read_parquet('s3://bucket/x.parquet')": "disabled|httpfs|Cannot access",
    "SELECT * FROM 'hf://datasets/x/y.parquet'": "disabled|httpfs|does not exist|Cannot access",
    "SELECT * FROM sqlite_scan('{store}/x.db', 't')": "sqlite_scan",
    "SELECT * FROM postgres_scan('host=127.0.0.1', 'public', 't')": "postgres_scan",
    "SELECT * FROM read_duckdb('{store}/x.db')": NO_FILES,
}

ESCAPING = {
    "ATTACH '{store}/x.db'": NOT_A_QUERY,
    "ATTACH ':memory:' AS more": NOT_A_QUERY,
    "DETACH memory": NOT_A_QUERY,
    "USE memory": NOT_A_QUERY,
    "INSTALL httpfs": NOT_A_QUERY,
    "LOAD httpfs": NOT_A_QUERY,
    "LOAD '{store}/evil.duckdb_extension'": NOT_A_QUERY,
    "UPDATE EXTENSIONS": NOT_A_QUERY + "|syntax",
    "SET enable_external_access = true": NOT_A_QUERY,
    "SET memory_limit = '1TB'": NOT_A_QUERY,
    "SET GLOBAL allowed_directories = ['/']": NOT_A_QUERY,
    "SET VARIABLE profiles = ['{other}']": NOT_A_QUERY,
    "RESET enable_external_access": NOT_A_QUERY,
    "RESET lock_configuration": NOT_A_QUERY,
    "PRAGMA enable_logging": NOT_A_QUERY,
    "PRAGMA memory_limit = '1TB'": NOT_A_QUERY,
    "PRAGMA database_list": NOT_A_QUERY + "|",
    "CALL pragma_version()": NOT_A_QUERY,
    "CALL enable_logging()": NOT_A_QUERY,
    "FROM enable_logging()": "locked",
    "FROM enable_profiling('json')": "locked",
    "FROM force_checkpoint()": "",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')": NOT_A_QUERY,
    "DROP SECRET s": NOT_A_QUERY,
    "PREPARE p AS SELECT 1": NOT_A_QUERY,
    "EXECUTE p": NOT_A_QUERY + "|does not exist",
    "BEGIN": NOT_A_QUERY,
    "ROLLBACK": NOT_A_QUERY,
    "COMMIT": NOT_A_QUERY,
    "SELECT 1; SELECT 2": "expected one statement, found 2",
    "SELECT 1; COPY (SELECT 1) TO '{never}'": "expected one statement, found 2",
    "ROLLBACK; DROP VIEW profiles": "expected one statement, found 2",
    "": "expected one statement, found 0",
    "-- nothing": "expected one statement, found 0",
    "SELECT getenv('HOME')": "getenv does not exist",
    "SELECT set_config('a', 'b')": "does not exist",
    "SELECT * FROM os": "does not exist",
    "SELECT * FROM session": "does not exist",
    "SELECT * FROM query": "does not exist",
    "SELECT * FROM np.array": "does not exist",
    "SELECT \x00": "",
    "SELECT 'a\x00b' AS a FROM read_text('/etc/passwd')": NO_FILES,
    "SELECT " + "(" * 5_000 + "1" + ")" * 5_000: "depth",
    "SELECT " + "+".join(["1"] * 5_000): "depth",
    "SELECT '" + "x" * 500_000: "unterminated",
}

SEEING = {
    "SELECT * FROM duckdb_secrets()": "Cannot access|",
    "FROM which_secret('s3://x', 's3')": "Cannot access|",
    "SELECT name, value FROM duckdb_settings()": HARMLESS,
    "SELECT current_setting('allowed_paths')": HARMLESS,
    "SELECT current_setting('secret_directory')": HARMLESS,
    "SELECT * FROM duckdb_databases()": HARMLESS,
    "SELECT * FROM duckdb_variables()": HARMLESS,
    "SELECT * FROM duckdb_views()": HARMLESS,
    "SELECT * FROM duckdb_temporary_files()": HARMLESS,
    "SELECT * FROM duckdb_extensions()": HARMLESS,
    "SELECT * FROM duckdb_logs": HARMLESS,
    "SELECT * FROM pragma_database_size()": HARMLESS,
    "SELECT * FROM information_schema.tables": HARMLESS,
    "SELECT DISTINCT tenant FROM blocks": HARMLESS,
    "SELECT DISTINCT service_name FROM profiles": HARMLESS,
    "SELECT * FROM labels": HARMLESS,
    "SELECT * FROM functions": HARMLESS,
    "SELECT current_user, current_database(), version()": HARMLESS,
}

FILE_ATTEMPTS = {**WRITING, **READING, **ESCAPING, **SEEING}

RESOURCE_ATTEMPTS = {
    "WITH RECURSIVE t(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM t) SELECT count(*) FROM t": "stopped",
    "SELECT count(*) FROM range(1000000) a, range(1000000) b, range(1000000) c": "stopped",
    "SELECT sum(length(repeat('x', 1000000000))) FROM range(4)": "memory|stopped",
    "FROM range(1000000000)": "more than 10000 rows",
    "SELECT repeat('x', 2000000) FROM range(100)": "more than 1000000 bytes",
    "SELECT list(range) FROM range(1000000000)": "memory",
}
"""Each costs a process: these run by default, and with `MORE_RESOURCE_ATTEMPTS` at night."""

MORE_RESOURCE_ATTEMPTS = {
    "WITH RECURSIVE t(a) AS (SELECT repeat('x', 10000000) UNION ALL SELECT a || a FROM t) SELECT count(*) FROM t": (
        "memory|stopped|string"
    ),
    "FROM range(100000000) ORDER BY hash(range)": "memory|stopped|more than",
    "SELECT string_agg(range) FROM range(100000000)": "memory|stopped",
    "SELECT array_agg(repeat('y', 1000)) FROM range(10000000)": "memory|stopped",
    "SELECT repeat('x', 2000000000)": "memory|string",
    "SELECT lpad('x', 2000000000, 'y')": "memory|stopped",
    "SELECT printf('%1000000000d', 1)": "memory|llocation",
    "SELECT range(200000000)": "memory",
    "SELECT [x + 1 FOR x IN range(100000000)]": "memory|stopped",
    "SELECT unnest(range(1000000)), * FROM range(200)": "more than 10000 rows|memory",
    "SELECT count(DISTINCT hash(range)) FROM range(10000000000)": "memory|stopped",
    "SELECT a.range FROM range(10000000) a JOIN range(10000000) b ON hash(a.range) % 7 = hash(b.range) % 7": (
        "memory|stopped|more than"
    ),
    "SELECT * FROM generate_series(TIMESTAMP '1000-01-01', TIMESTAMP '9000-01-01', INTERVAL 1 MICROSECOND)": (
        "more than|memory|stopped"
    ),
}
