"""Real faults, and where each is tested: here, or where it was tested before.

| fault | tests |
|---|---|
| kill -9 of a program mid-call | `test_retries`: what it was doing is never done twice |
| SIGSTOP, half-open TCP, an answer held back or dripping | `test_retries`, `test_hangs`; `upstream/test_http` |
| the breaker: failures, one probe, whose they are | `test_breaker`; `upstream/test_breaker`: the table |
| the breaker as agents and operators see it | `test_front` |
| retries and their budget | `test_retries`; `upstream/test_retry`: the table |
| deadlines: tools' own, the cap, the queue | `test_hangs`; `upstream/test_table` |
| an answer cut off, a connection reset | `test_others` |
| one upstream slow, the others not | `test_others`; `upstream/test_upstream`: nothing one does delays another |
| restarts that leave nothing behind (20) | `test_others`; `upstream/test_process`; `upstream/test_backoff` |
| an upstream session lost (404, -32001) | `upstream/test_upstream`, `test_link`, `test_http_sessions`, `test_sse` |
| noise on stdout, a 64 MB line, invalid UTF-8, truncated JSON | `upstream/test_stdio`; `interaction/test_outages` |
| an answer of a million values | `upstream/test_stdio`, `test_http` |
| lists that change without end | `upstream/test_watch`; `catalogue/test_pinning`: the log stays small |
| a flood on stderr (20 MB) | `upstream/test_stdio`, `test_stderr` |
| a list with a repeated cursor, endless pages, a 2 MB page | `upstream/test_lister` |

How many milliseconds a refusal or a deadline may take is not asserted: on a busy machine that would test the machine.
"""
