"""OpenAPI documents as tools. Pure: document → operations (`compiling`), arguments → request, response → result.

Nothing here does I/O, and nothing is imported before there is a server that is such an API. A document is compiled in a
process of its own (`__main__`), whose memory and time are bounded: who wrote the document need not be trusted.
"""
