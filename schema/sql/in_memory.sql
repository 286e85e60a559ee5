-- Adds a block that is only in memory to one query: its tables, registered as `_memory_<table>`, join those in
-- files under the same names. `memory.main` is the schema that tables.sql made its views in.

CREATE OR REPLACE TEMP VIEW _index AS
FROM memory.main._index
UNION ALL BY NAME
FROM _memory_index;

CREATE OR REPLACE TEMP VIEW _stored_profiles AS
FROM memory.main._stored_profiles
UNION ALL BY NAME
FROM _memory_profiles;

-- The row number costs nothing in a query that does not ask for it.
CREATE OR REPLACE TEMP VIEW _stored_samples AS
FROM memory.main._stored_samples
UNION ALL BY NAME
SELECT s.*, row_number() OVER () - 1 AS file_row_number
FROM _memory_samples AS s;

CREATE OR REPLACE TEMP VIEW _stacks AS
FROM memory.main._stacks
UNION ALL BY NAME
FROM _memory_stacks;

CREATE OR REPLACE TEMP VIEW _stacktraces AS
FROM memory.main._stacktraces
UNION ALL BY NAME
FROM _memory_stacktraces;

CREATE OR REPLACE TEMP VIEW _frames AS
FROM memory.main._frames
UNION ALL BY NAME
FROM _memory_frames;

CREATE OR REPLACE TEMP VIEW _locations AS
FROM memory.main._locations
UNION ALL BY NAME
FROM _memory_locations;

CREATE OR REPLACE TEMP VIEW _functions AS
FROM memory.main._functions
UNION ALL BY NAME
FROM _memory_functions;

CREATE OR REPLACE TEMP VIEW _mappings AS
FROM memory.main._mappings
UNION ALL BY NAME
FROM _memory_mappings;

CREATE OR REPLACE TEMP VIEW _labelsets AS
FROM memory.main._labelsets
UNION ALL BY NAME
FROM _memory_labelsets;
