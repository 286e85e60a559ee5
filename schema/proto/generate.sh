#!/bin/sh
# Makes the Python modules of the .proto files here. Needs grpcio-tools; the generated code asks for a protobuf
# runtime at least as new as the compiler that made it.
# The files are registered as flameduck/*.proto, so that they live beside any other profile.proto in a process.
set -eu
cd "$(dirname "$0")"
made=$(mktemp -d)
python -m grpc_tools.protoc --proto_path=flameduck=. --python_out="$made" --pyi_out="$made" flameduck/profile.proto flameduck/profile_columns.proto \
    flameduck/querier.proto
mv "$made"/flameduck/* .
rm -r "$made"
