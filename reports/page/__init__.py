"""Pages of what the tables say: charts, their parts, and the server that shows them."""
