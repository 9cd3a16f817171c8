"""Real faults and real attacks, and where each is tested: here, or where it was tested before.

| fault | tests |
|---|---|
| names that do not resolve | `test_names`; `upstream/test_pool` |
| what servers start and leave, a guardian that died, PID 1 | `upstream/test_guardian`, `test_process` |
| kill -9 of a program mid-call | `test_retries`: what it was doing is never done twice |
| SIGSTOP, half-open TCP, an answer held back or dripping | `test_retries`, `test_hangs`; `upstream/test_http` |
| the breaker: failures, one probe, whose they are | `test_breaker`; `upstream/test_breaker`: the table |
| the breaker as agents and operators see it | `test_front` |
| retries and their budget | `test_retries`; `upstream/test_retry`: the table |
| deadlines: tools' own, the cap, the queue | `test_hangs`; `upstream/test_table` |
| an answer cut off, a connection reset | `test_others` |
| one upstream slow, the others not | `test_others`, `upstream/test_upstream`; by how much: `just bench-neighbours` |
| restarts that leave nothing behind (20) | `test_others`; `upstream/test_process`, `test_backoff`; more: `just soak` |
| an upstream session lost, in any words | `upstream/test_upstream`, `test_http_sessions`; `test_retries` |
| noise on stdout, a 64 MB line, invalid UTF-8, truncated JSON | `upstream/test_stdio`; `interaction/test_outages` |
| an answer of a million values | `upstream/test_stdio`, `test_http` |
| a body without end, wanted or not | `upstream/test_http`, `test_http_sessions`, `test_sse` |
| lists that change without end | `frontend/test_listening`; `catalogue/test_parts`; `just bench-catalogue` |
| very many who listen to very much | `frontend/test_listening`, `test_telling`; `upstream/test_watch` |
| the log of definitions that change without end | `catalogue/test_pinning` |
| a flood on stderr (20 MB) | `upstream/test_stdio`, `test_stderr` |
| a list with a repeated cursor, endless pages, a 2 MB page | `upstream/test_lister` |
| sessions by the thousand, a million calls | `access/test_session_flood`; `just soak` |
| 100 reloads under load, a bad configuration | `test_reload`; `config/test_reload`, `test_diff`, `test_watch` |
| a server that hangs, fails or is slow at the start | `test_start`; by how much: `just bench-start` |
| one server lacks a variable | `cli/test_out_of_order` |
| a retry that says again what was said | `upstream/test_repetition` |
| sessions open at a restart, a node that dies, no store | `frontend/test_nodes`, `test_shared_sessions` |
| several gateways on one state directory | `access/test_agent_store`, `test_agent_tokens` |
| other servers' pins and catalogue in it | `catalogue/test_pinning`, `test_snapshot` |
| a full disk, no right to write | `access/test_agent_store`; `catalogue/test_pinning`; `test_surroundings` |
| descriptors 0 to 2 closed, files that hang | `test_surroundings`; `access/test_agent_store` |
| a log that nobody reads | `telemetry/test_log_stream`, `test_logs` |
| two starts on one port | `frontend/test_listener` |
| SIGTERM and SIGINT under load, a second signal | `test_stop`; `frontend/test_drain`, `test_listener` |

| threat | tests |
|---|---|
| one tenant's failures, slow calls | `test_neighbours`; `upstream/test_breaker`, `test_fair`; `just bench-neighbours` |
| credentials that travel on | `access/test_passthrough` |
| a stolen session | `access/test_through_the_door`; `frontend/test_sessions`, `test_http_sessions` |
| `requestState` of somebody else, or for something else | `bridge/test_state`, `test_rounds` |
| a request with somebody's other token, an answer with one | `frontend/test_duplex`; `oauth/test_gateway` |
| names that read like another type, groups cut off | `access/test_policy`, `test_oauth_claims` |
| limits that multiply with agents | `access/test_rate_limit`, `test_agent_tokens` |
| answers across tenants | `access/test_tenants`; `interaction/test_together` |
| what belongs to nobody | `bridge/test_nobodys` |
| tasks of somebody else | `interaction/test_extensions` |
| shadowing | `catalogue/test_merge`, `test_merge_properties`, `test_naming` |
| URIs of several upstreams | `catalogue/test_ownership`, `test_lookup`, `test_merge_properties`, `test_library` |
| a server that takes URIs over | `catalogue/test_owners`, `store/test_owners`; `cli/test_takeovers` |
| links that lead to somebody else's resource | `bridge/test_links`; `interaction/test_links`, `test_fidelity` |
| an item that strict clients refuse | `catalogue/test_repairs` |
| policy by spelling | `access/test_spellings`, `access/test_hidden` |
| rug pulls, text that hides | `catalogue/test_rug_pull`, `test_pins`, `test_pinning`, `test_suspicious` |
| addresses learned from the network | `test_egress`; `access/test_oauth_issuer`, `test_oauth_metadata` |
| DNS rebinding | `frontend/test_guard`, `test_http` |
| commands and metacharacters | `upstream/test_process`; `config/test_servers` |
| a cloned folder starts programs | `cli/test_folders` |
| secrets in logs, errors, children | `config/test_redact`; `access/test_authentication`; `upstream/test_process` |
| header injection, duplicated routing headers | `frontend/test_param_headers`, `test_http_modern` |
| upstreams of others, by whatever way | `access/test_hidden`, `test_hidden_upstreams`; `catalogue/test_completion` |
| filters and subscriptions without end | `bridge/test_subscriptions`; `upstream/test_pacer` |
| many agents with grants of their own | `catalogue/test_parts`: who sees the same shares it |
| bombs, oversize, slowness, hostile schemas | `test_load`; `frontend/test_connection`; `just bench-inbound` |
| load by those who give no key | `frontend/test_anonymous`; `telemetry/test_scrapes` |
| secrets in a text that is cut, or of several lines | `telemetry/test_logs`; `upstream/test_stderr` |
| floods of sessions and requests | `access/test_session_flood`, `test_in_flight`; `test_load` |
| tokens that are not good, keys by the thousand | `access/test_oauth_abuse`, `test_oauth_keys` |
| rotation: ids reused or absent, a stranger in between, agents of a withdrawn key | `access/test_oauth_keys` |
| `X-Forwarded-For` of anybody, a crowd before slow hashes | `access/test_proxies`, `test_turns` |
| API keys and agents' tokens | `access/test_key_file`, `test_live_keys`, `test_agent_tokens`, `test_agent_store` |
| slow readers, on HTTP and stdio, anonymous ones too | `frontend/test_backlog`, `test_streams` |
| nonsense at every parser | `fuzz`; `frontend/test_fuzz`, `config/test_fuzz`; `just fuzz`, `fuzz-guided` |

How many milliseconds a refusal or a deadline may take is not asserted, which on a busy machine would test the machine:
`just bench-faults` measures it.
"""
