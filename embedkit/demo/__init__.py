"""The whole way on sounds that embedkit makes itself."""
