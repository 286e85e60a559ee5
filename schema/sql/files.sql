-- Names the files of one query's blocks. One parameter for each stored table: a list of paths, which may be
-- empty. Run in the session of that query, since variables belong to a connection.
SET VARIABLE index_files = $index;
SET VARIABLE profiles_files = $profiles;
SET VARIABLE samples_files = $samples;
SET VARIABLE stacks_files = $stacks;
SET VARIABLE stacktraces_files = $stacktraces;
SET VARIABLE frames_files = $frames;
SET VARIABLE locations_files = $locations;
SET VARIABLE functions_files = $functions;
SET VARIABLE mappings_files = $mappings;
SET VARIABLE labelsets_files = $labelsets;
