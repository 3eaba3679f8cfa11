/* See failure.h. */
#include "failure.h"

const Failure failure_cancelled = {0, true, "cancelled", "cancelled"};
const Failure failure_closed = {0, true, "cancelled", "the client was closed"};
const Failure failure_memory = {0, false, "io", "not enough memory"};
const Failure failure_stale = {0, false, "network",
                               "the server had closed the connection"};
const Failure failure_too_large = {0, true, "protocol",
                                   "the answer is larger than allowed"};
const Failure failure_not_written = {0, true, "io", "cannot write the file"};
const Failure failure_wrong_range = {
    0, false, "protocol", "the server sent a different part than requested"};
const Failure failure_empty_file = {0, false, "protocol",
                                    "the server sent an empty file"};
const Failure failure_not_a_clip = {0, true, "protocol",
                                    "the answer is not a clip"};
const Failure failure_grows_too_much = {
    0, true, "protocol", "the decompressed answer is too large"};
const Failure failure_wrong_size = {
    0, false, "network", "the download ended before the file was complete"};
const Failure failure_cut_short = {0, false, "network",
                                   "the clip is incomplete"};

const Failure failure_proxy_login = {
    0, true, "network", "give a valid user name and password in its URL"};
const Failure failure_proxy_forbids = {0, true, "network",
                                       "it refuses a connection to the host"};
const Failure failure_proxy_fails = {0, false, "network",
                                     "it cannot reach the host"};

static const Failure other_failure = {-1, false, "network",
                                      "the transfer failed"};
static const Failure failures[] = {
    {CURLE_UNSUPPORTED_PROTOCOL, true, "protocol",
     "the address, or one it redirects to, is not https"},
    {CURLE_URL_MALFORMAT, true, "invalid", "the URL is not valid"},
    {CURLE_COULDNT_RESOLVE_PROXY, false, "network",
     "the proxy's name was not found"},
    {CURLE_COULDNT_RESOLVE_HOST, false, "network",
     "the host's name was not found"},
    {CURLE_COULDNT_CONNECT, false, "network", "could not connect"},
    {CURLE_WEIRD_SERVER_REPLY, false, "protocol", "the answer is not HTTP"},
    {CURLE_HTTP2, false, "network", "the HTTP/2 connection failed"},
    {CURLE_HTTP2_STREAM, false, "network", "the HTTP/2 stream failed"},
    {CURLE_PARTIAL_FILE, false, "network", "the answer is incomplete"},
    {CURLE_OUT_OF_MEMORY, false, "io", "not enough memory"},
    {CURLE_OPERATION_TIMEDOUT, false, "timeout", "no answer in time"},
    {CURLE_SSL_CONNECT_ERROR, false, "network",
     "the TLS handshake failed: check that this port speaks https"},
    {CURLE_TOO_MANY_REDIRECTS, true, "protocol", "more than five redirects"},
    {CURLE_GOT_NOTHING, false, "network",
     "the server closed the connection without an answer"},
    {CURLE_SEND_ERROR, false, "network", "the request could not be sent"},
    {CURLE_RECV_ERROR, false, "network", "the connection broke"},
    {CURLE_SSL_CERTPROBLEM, true, "network",
     "the client certificate cannot be used"},
    {CURLE_SSL_CIPHER, true, "network", "no TLS cipher in common"},
    {CURLE_PEER_FAILED_VERIFICATION, true, "network",
     "the server's certificate is not trusted: "
     "check the host's name, the clock and ca_file"},
    {CURLE_BAD_CONTENT_ENCODING, true, "protocol",
     "the answer's encoding is unknown"},
    {CURLE_SEND_FAIL_REWIND, false, "network",
     "the connection broke before an answer; "
     "the request was not sent again"},
    {CURLE_SSL_CACERT_BADFILE, true, "network",
     "the file of trusted certificates cannot be read: "
     "give a PEM file as ca_file, or install ca-certificates"},
    {CURLE_SSL_ISSUER_ERROR, true, "network",
     "the server's certificate is not trusted: "
     "check the host's name, the clock and ca_file"},
    {CURLE_PROXY, false, "network", "the proxy refused"},
    {CURLE_TOO_LARGE, true, "protocol",
     "the answer's headers are larger than 64 KiB"},
};

const Failure *find_failure(CURLcode rc) {
  for (size_t i = 0; i < sizeof failures / sizeof *failures; i++)
    if (failures[i].code == (int)rc) return &failures[i];
  return &other_failure;
}
