"""Where blocks are kept: objects behind one door, the catalog of live blocks, block files, a cache of them."""
