"""Our protocol definitions and the code made from them."""
