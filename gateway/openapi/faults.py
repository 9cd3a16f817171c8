"""Why an operation cannot be a tool, or arguments no request."""


class DocumentFault(Exception):
    """The document as a whole cannot be used; the message says why."""


class OperationFault(Exception):
    """One operation cannot be a tool; the message says why."""


class ArgumentFault(Exception):
    """Arguments do not make a request; the message says which, and what to do."""
