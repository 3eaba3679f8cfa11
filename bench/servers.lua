--- The servers of the benchmark, all on loopback: nginx with fixed answers, and
--- one that takes its time. Their certificate is made anew each time.
local servers = {}

local TRIES = 20

local function execute(command)
  local ok = os.execute(command)
  if not ok then error("failed: " .. command, 0) end
end

local function capture(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("a")
  pipe:close()
  return text
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  assert(file:close())
end

--- Makes the CA, the server's certificate, and the system's roots with the CA
--- among them.
local function make_certificates(tmp)
  execute(([[
    cd %s && {
    openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 \
      -subj "/CN=bench CA" -addext "basicConstraints=critical,CA:TRUE" &&
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
      -keyout server.key -out server.csr -subj "/CN=localhost" &&
    echo "subjectAltName=DNS:localhost,IP:127.0.0.1" >server.ext &&
    openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
      -days 2 -extfile server.ext -out server.pem &&
    cat /etc/ssl/certs/ca-certificates.crt ca.pem >roots.pem &&
    chmod 644 server.key; } 2>openssl.log]]):format(tmp))
end

local function fill(template, values)
  return (template:gsub("@(%w+)@", values))
end

--- One line of JSON, as nginx's configuration holds it.
local function answer(path)
  return (read(path):gsub("%s*\n%s*", " "):gsub("'", "\\'"))
end

--- Whether something answers there.
local function responds(bin, url, ca)
  return os.execute(("%s/sequential get 1 %s/luma/generations/x '%s' 2>/dev/null"):format(bin, url, ca))
end

--- `pin` is what a command begins with to stay on a processor of its own.
local function start(pin, command)
  return (assert(capture("exec " .. pin .. command .. " & echo $!"):match("%d+")))
end

local function start_nginx(found, bench, data, tmp, bin)
  local values = {
    tmp = tmp,
    modules = "/usr/lib/nginx/modules", -- Debian's
    pending = answer(data .. "/submit.response.pending.json"),
    completed = answer(data .. "/query.response.completed.json"),
  }
  write(tmp .. "/answers.conf", fill(read(bench .. "/servers/answers.conf"), values))
  for _ = 1, TRIES do
    local port = math.random(20000, 30000)
    values.plain, values.tls, values.h2, values.once = port, port + 1, port + 2, port + 3
    write(tmp .. "/nginx.conf", fill(read(bench .. "/servers/nginx.conf"), values))
    found.nginx = start(found.pin, ("nginx -p %s -c %s/nginx.conf >>%s/nginx.log 2>&1"):format(tmp, tmp, tmp))
    found.plain = "http://127.0.0.1:" .. port
    found.tls = "https://localhost:" .. port + 1
    found.h2 = "https://localhost:" .. port + 2
    found.once = "https://localhost:" .. port + 3
    for _ = 1, 20 do
      execute("sleep 0.1")
      if responds(bin, found.plain, "") then return end
      if not os.execute("kill -0 " .. found.nginx .. " 2>/dev/null") then break end
    end
  end
  error("nginx does not start:\n" .. read(tmp .. "/nginx.log"), 0)
end

---@param found table with `pin`; gets the base URLs by name, the paths `ca` and `roots`, and what to
--- stop
---@param bench string this folder
---@param tmp string for what is made
---@param bin string where the programs in C are
function servers.start(found, bench, tmp, bin)
  local data = bench .. "/../spec/data/relay"
  found.ca, found.roots = tmp .. "/ca.pem", tmp .. "/roots.pem"
  make_certificates(tmp)
  -- The boxes that a clip begins with, the last of which holds the rest.
  local boxes = [[\0\0\0\020ftypisom\0\0\2\0\0\0\0\010moov\0\0\0\0mdat]]
  execute(("{ printf '%s'; head -c 100000000 /dev/urandom; } >%s/clip.mp4"):format(boxes, tmp))
  start_nginx(found, bench, data, tmp, bin)
  found.delay = start(found.pin, ("%s/delay %s/submit.response.pending.json >%s/delay.port"):format(bin, data, tmp))
  local port
  for _ = 1, TRIES do
    port = read(tmp .. "/delay.port"):match("%d+")
    if port then break end
    execute("sleep 0.1")
  end
  found.slow = "http://127.0.0.1:" .. assert(port, "the delaying server does not start")
end

function servers.stop(found)
  for _, name in ipairs { "nginx", "delay" } do
    if found[name] then os.execute("kill " .. found[name]) end
  end
end

return servers
