"""What the tests share: installations, servers, clients, and no test."""
