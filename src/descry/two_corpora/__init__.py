"""One model over two corpora: which labels hold on other data."""
