-- The world that scripts and functions live in. Runs once, when the Lua state is made.
--
-- Scripts see tables with the functions below and nothing else: no file, process, network, bytecode
-- or debug library, and no object of the host but C functions made of the host's own. Every table
-- that is shared among scripts is an empty stand-in in front of the real one, so that no script can
-- leave something behind for the next. What the host raises is an object; scripts get its text.
--
-- `host` holds the host's functions by name; the values answered at the end are its entry points.

local host, cjson_source, cmsgpack_source, hook_interval = ...
local SELF = "=sandbox"
local FRAMES, FAILED = 0, 1 -- first of several results: RESP frames; an error and where it arose
local DEPTH_MAX = 2000 -- of tables in a reply

local as_function = python.as_function
local assert, error, getmetatable, ipairs, loadstring, next, pairs = assert, error, getmetatable,
  ipairs, loadstring, next, pairs
local pcall, rawget, rawset, select, setfenv, setmetatable, tostring, type, unpack, xpcall = pcall,
  rawget, rawset, select, setfenv, setmetatable, tostring, type, unpack, xpcall
local collectgarbage, tonumber = collectgarbage, tonumber
local byte, concat, find, floor, format, gsub, sub = string.byte, table.concat, string.find,
  math.floor, string.format, string.gsub, string.sub
local getinfo, sethook = debug.getinfo, debug.sethook
local create, resume = coroutine.create, coroutine.resume

local function from_host(name)
  return as_function(host[name])
end

-- Where an error arose -------------------------------------------------------------------------

local entry -- the script's or function's own function

-- Source and line of the script's innermost function, from `level` up. A tail call leaves no trace
-- of its caller: then the last line of what was called first is the best that can be said.
local function locate(level)
  local info = getinfo(level + 1, "Sl")
  while info do
    if info.what ~= "C" and info.what ~= "tail" and info.source ~= SELF then
      return info.source, info.currentline, info.short_src
    end
    level = level + 1
    info = getinfo(level + 1, "Sl")
  end
  if not entry then
    return "=?", -1, "?"
  end
  info = getinfo(entry, "SL")
  local last = info.linedefined
  for line in next, info.activelines do
    last = line > last and line or last
  end
  return info.source, last, info.short_src
end

local names = {} -- library function -> name

-- What an error message of a library function begins with, as luaL_error would have it. Answers the
-- name of the function too.
local function prefix(level)
  local name
  local was_tail = false
  local info = getinfo(level + 1, "Sf")
  while info and (info.source == SELF or info.what == "tail") do
    was_tail = info.what == "tail"
    name = info.func and names[info.func] or name
    level = level + 1
    info = getinfo(level + 1, "Sf")
  end
  if info and info.what == "C" and not was_tail then
    return "", name or "?"
  end
  local _, line, short_source = locate(level)
  return short_source .. ":" .. line .. ": ", name or "?"
end

-- For the host's own library functions: the frame above is theirs.
local function host_prefix()
  local name = getinfo(2, "n").name
  return (prefix(3)), name or "?"
end

local function fail(message)
  error(prefix(2) .. message, 0)
end

local function bad_argument(number, message)
  local where, name = prefix(2)
  error(where .. "bad argument #" .. number .. " to '" .. name .. "' (" .. message .. ")", 0)
end

-- Errors -----------------------------------------------------------------------------------------

local describe = from_host("describe")
local null = newproxy()
local dead -- why the running script has to end

-- What a script sees of an error: texts and its own values, never an object of the host.
local function surfaced(problem)
  if type(problem) == "userdata" and problem ~= null then
    local text, is_reply = describe(problem)
    return is_reply and { err = text } or text
  end
  return problem
end

local function reason(problem)
  problem = surfaced(problem)
  if type(problem) == "table" then
    local text = rawget(problem, "err")
    if type(text) == "string" then
      return text
    end
  end
  return problem
end

-- The error table that ends a script: text, source, line.
local function on_error(problem)
  local text
  if dead then
    text = dead
  elseif type(problem) == "userdata" and problem ~= null then
    local is_reply
    text, is_reply = describe(problem)
    text = is_reply and text or "ERR " .. text
  elseif type(problem) == "table" then
    text = rawget(problem, "err")
    text = type(text) == "string" and text or "ERR unknown error"
  elseif type(problem) == "string" or type(problem) == "number" then
    text = "ERR " .. problem
  else
    text = "ERR " .. tostring(problem)
  end
  local source, line = locate(2)
  return { err = text, source = source, line = line }
end

-- A script that ran out of memory is at its end: it could go on doing so for very long.
local NO_MEMORY = "not enough memory"
local function end_if_starved(problem)
  if problem == NO_MEMORY then
    dead = "ERR " .. NO_MEMORY
    error(dead, 0)
  end
end

local function safe_results(ok, ...)
  if ok then
    return true, ...
  end
  end_if_starved((...))
  return false, reason((...))
end

local function safe_pcall(...)
  return safe_results(pcall(...))
end

local function handled(ok, ...)
  if not ok then
    end_if_starved((...))
  end
  return ok, ...
end

local function safe_xpcall(callee, handler)
  return handled(xpcall(callee, function(problem)
    if dead or problem == NO_MEMORY then
      return dead or problem -- a handler runs without the hook: nothing could end it
    end
    return handler(surfaced(problem))
  end))
end

-- The hook: every so many instructions the host looks at the clock and may end the script ----------

local tick = from_host("tick")
local ENDINGS = {
  "ERR Script killed by user with SCRIPT KILL...",
  "ERR Script killed by user with SCRIPT KILL...",
  "ERR not enough memory",
  "ERR FUNCTION LOAD timeout",
  "ERR the server is shutting down",
}

local function on_count(event)
  if dead then
    if event == "line" and getinfo(2, "S").source == SELF then
      return
    end
  else
    local ending = tick()
    if not ending then
      return
    end
    dead = ENDINGS[ending]
  end
  sethook(on_count, "l", hook_interval) -- whatever catches the error gets it again on its next line
  error(dead, 0)
end

local function start()
  sethook(on_count, "", hook_interval)
end

local function stop()
  if dead then
    start() -- first: while lines are hooked, it must be known that the end is on its way
    dead = nil
  end
end

-- Tables that nobody can change -----------------------------------------------------------------

local READ_ONLY = "Attempt to modify a readonly table"
local real_of = setmetatable({}, { __mode = "k" }) -- stand-in -> real table

local function refuse()
  error(READ_ONLY, 2)
end

local function protect(real)
  local stand_in = setmetatable({}, { __index = real, __newindex = refuse, __metatable = false })
  real_of[stand_in] = real
  return stand_in
end

local function writable(target)
  if real_of[target] then
    error({ err = "ERR " .. READ_ONLY }, 0)
  end
  return target
end

local function guarded(native)
  return function(target, ...)
    if target ~= nil and real_of[target] then
      error({ err = "ERR " .. READ_ONLY }, 0)
    end
    return native(target, ...)
  end
end

local function safe_next(target, key)
  return next(real_of[target] or target, key)
end

local function safe_pairs(target)
  local real = target ~= nil and real_of[target]
  if real then
    return function(_, key)
      return next(real, key)
    end, target, nil
  end
  return pairs(target)
end

local function safe_rawget(target, key)
  return rawget(target ~= nil and real_of[target] or target, key)
end

local string_meta = getmetatable("")

-- Libraries ----------------------------------------------------------------------------------------

local function copy(library, ...)
  local result = {}
  for name, value in pairs(library) do
    result[name] = value
  end
  for _, name in ipairs({ ... }) do
    result[name] = nil
  end
  return result
end

local libraries = {}

string.dump = nil
libraries.string = protect(string)
string_meta.__index = string
string_meta.__metatable = protect({ __index = libraries.string })

local tables = copy(table)
for _, name in ipairs({ "insert", "remove", "sort", "setn" }) do
  tables[name] = guarded(table[name])
end
libraries.table = protect(tables)

local random31 = from_host("random31")
local maths = copy(math)
local RANDOM_MAX = 2147483647
maths.randomseed = from_host("seed")
function maths.random(...)
  local fraction = (random31() % RANDOM_MAX) / RANDOM_MAX
  local count = select("#", ...)
  if count == 0 then
    return fraction
  end
  local low, high = ...
  for number = 1, count do
    if not tonumber((select(number, ...))) then
      bad_argument(number, "number expected, got " .. type((select(number, ...))))
    end
  end
  if count == 1 then
    low, high = 1, low
  elseif count > 2 then
    fail("wrong number of arguments")
  end
  low, high = floor(low), floor(high)
  if low > high then
    bad_argument(count, "interval is empty")
  end
  return floor(fraction * (high - low + 1)) + low
end
names[maths.random] = "random"
libraries.math = protect(maths)

local coroutines = copy(coroutine)
function coroutines.create(body)
  local thread = create(body)
  sethook(thread, on_count, "", hook_interval)
  return thread
end
local function resumed(ok, ...)
  if ok then
    return true, ...
  end
  end_if_starved((...))
  return false, surfaced((...))
end
function coroutines.resume(...)
  return resumed(resume(...))
end
local function wrapped(ok, ...)
  if ok then
    return ...
  end
  error((...), 0)
end
function coroutines.wrap(body)
  local thread = coroutines.create(body)
  return function(...)
    return wrapped(resume(thread, ...))
  end
end
libraries.coroutine = protect(coroutines)
libraries.os = protect({ clock = os.clock })

local bits = {}
for _, name in ipairs({
  "tobit", "tohex", "bnot", "band", "bor", "bxor", "lshift", "rshift", "arshift", "rol", "ror",
  "bswap",
}) do
  bits[name] = from_host("bit_" .. name)
end
libraries.bit = protect(bits)
libraries.struct = protect({
  pack = from_host("struct_pack"),
  unpack = from_host("struct_unpack"),
  size = from_host("struct_size"),
})

local shared = { fail = fail, bad_argument = bad_argument, null = null, host = from_host }
local function load_library(source)
  local library = assert(loadstring(source, SELF))(shared)
  for name, member in pairs(library) do
    if type(member) == "function" then
      names[member] = name
    end
  end
  return protect(library)
end
libraries.cjson = load_library(cjson_source)
libraries.cmsgpack = load_library(cmsgpack_source)

-- The globals --------------------------------------------------------------------------------------

local function unknown_global(_, name)
  local text = "Script attempted to access nonexistent global variable '%s'"
  error(format(text, tostring(name)), 2)
end

local function closed(globals)
  return setmetatable(globals, { __index = unknown_global })
end

local function build_globals(environment)
  local globals = copy(libraries)
  for _, name in ipairs({
    "assert", "error", "gcinfo", "ipairs", "rawequal", "select", "tonumber", "tostring", "type",
    "unpack", "_VERSION",
  }) do
    globals[name] = _G[name]
  end
  globals._G = environment
  globals.pcall, globals.xpcall = safe_pcall, safe_xpcall
  globals.next, globals.pairs, globals.rawget = safe_next, safe_pairs, safe_rawget
  globals.rawset, globals.setmetatable = guarded(rawset), guarded(setmetatable)
  function globals.getmetatable(target)
    return getmetatable(target) or nil
  end
  function globals.collectgarbage(option, argument)
    option = option or "collect"
    if option == "count" or option == "collect" or option == "step" then
      return collectgarbage(option, argument)
    end
    return 0 -- how memory is collected is the server's business
  end
  function globals.loadstring(text, name)
    if type(text) ~= "string" then
      bad_argument(1, "string expected, got " .. type(text))
    end
    if byte(text) == 27 then
      return nil, "bytecode is not allowed"
    end
    local chunk, message = loadstring(text, name)
    if not chunk then
      return nil, message
    end
    return setfenv(chunk, environment)
  end
  function globals.load(reader, name)
    local pieces = {}
    repeat
      local piece = reader()
      pieces[#pieces + 1] = piece
    until not piece or piece == ""
    return globals.loadstring(concat(pieces), name or "=(load)")
  end
  return globals
end

local function reply_table(field, ...)
  local text = ...
  if select("#", ...) ~= 1 or type(text) ~= "string" then
    return { err = "ERR wrong number or type of arguments" }
  end
  return { [field] = text }
end

local redis = {
  call = from_host("call"),
  pcall = from_host("pcall"),
  log = from_host("log"),
  sha1hex = from_host("sha1hex"),
  setresp = from_host("setresp"),
  set_repl = from_host("set_repl"),
  acl_check_cmd = from_host("acl_check_cmd"),
  replicate_commands = function()
    return true
  end,
  status_reply = function(...)
    return reply_table("ok", ...)
  end,
  error_reply = function(...)
    local reply = reply_table("err", ...)
    local text = reply.err
    if byte(text) == 45 then -- "-": the code is given
      reply.err = sub(text, 2)
    elseif not find(text, " ", 1, true) then
      reply.err = "ERR " .. text
    end
    return reply
  end,
  LOG_DEBUG = 0,
  LOG_VERBOSE = 1,
  LOG_NOTICE = 2,
  LOG_WARNING = 3,
  REPL_NONE = 0,
  REPL_AOF = 1,
  REPL_SLAVE = 2,
  REPL_REPLICA = 2,
  REPL_ALL = 3,
  REDIS_VERSION = host.version,
  REDIS_VERSION_NUM = host.version_number,
}

-- The globals that code sees, and the means to show it other ones.
local function build_environment()
  local meta = { __newindex = refuse, __metatable = false }
  local environment = setmetatable({}, meta)
  local function show(globals)
    meta.__index = globals
    real_of[environment] = globals
  end
  local globals = build_globals(environment)
  globals.redis = protect(redis)
  show(closed(globals))
  return environment, globals, show
end

local environment, globals = build_environment()
-- functions' libraries see other globals while they are loaded
local function_environment, function_globals, show_functions = build_environment()

-- Replies --------------------------------------------------------------------------------------

local double_text = from_host("double_text")
local script_resp = from_host("script_resp")

local function whole(number)
  if number ~= number or number >= 9223372036854775808 or number < -9223372036854775808 then
    return "-9223372036854775808"
  end
  return format("%.0f", number < 0 and 0 - floor(-number) or floor(number) + 0)
end

local function line(text)
  return (gsub(text, "[\r\n]", " "))
end

local function bulk(out, text)
  out[#out + 1] = "$" .. #text .. "\r\n"
  out[#out + 1] = text
  out[#out + 1] = "\r\n"
end

local put

local function put_pairs(out, map, resp, depth)
  local at = #out + 1
  out[at] = ""
  local count = 0
  for key, value in next, map do
    put(out, key, resp, depth)
    put(out, value, resp, depth)
    count = count + 1
  end
  out[at] = resp == 3 and "%" .. count .. "\r\n" or "*" .. count * 2 .. "\r\n"
end

local function put_set(out, set, resp, depth)
  local at = #out + 1
  out[at] = ""
  local count = 0
  for key in next, set do
    put(out, key, resp, depth)
    count = count + 1
  end
  out[at] = (resp == 3 and "~" or "*") .. count .. "\r\n"
end

local function put_verbatim(out, text, kind, resp)
  if resp == 3 then
    out[#out + 1] = "=" .. #text + 4 .. "\r\n" .. sub(kind .. "   ", 1, 3) .. ":"
    out[#out + 1] = text
    out[#out + 1] = "\r\n"
  else
    bulk(out, text)
  end
end

local function put_array(out, array, resp, depth)
  local at = #out + 1
  out[at] = ""
  local count = 0
  local item = rawget(array, 1)
  while item ~= nil do
    put(out, item, resp, depth)
    count = count + 1
    item = rawget(array, count + 1)
  end
  out[at] = "*" .. count .. "\r\n"
end

local function put_table(out, value, resp, depth)
  local field = rawget(value, "err")
  if type(field) == "string" then
    out[#out + 1] = "-" .. line(field) .. "\r\n"
    return
  end
  field = rawget(value, "ok")
  if type(field) == "string" then
    out[#out + 1] = "+" .. line(field) .. "\r\n"
    return
  end
  field = rawget(value, "double")
  if type(field) == "number" then
    local text = double_text(field)
    if resp == 3 then
      out[#out + 1] = "," .. text .. "\r\n"
    else
      bulk(out, text)
    end
    return
  end
  field = rawget(value, "map")
  if type(field) == "table" then
    return put_pairs(out, field, resp, depth)
  end
  field = rawget(value, "set")
  if type(field) == "table" then
    return put_set(out, field, resp, depth)
  end
  field = rawget(value, "big_number")
  if type(field) == "string" then
    if resp == 3 then
      out[#out + 1] = "(" .. line(field) .. "\r\n"
    else
      bulk(out, line(field))
    end
    return
  end
  field = rawget(value, "verbatim_string")
  if type(field) == "table" then
    local text, kind = rawget(field, "string"), rawget(field, "format")
    if type(text) == "string" and type(kind) == "string" then
      return put_verbatim(out, text, kind, resp)
    end
  end
  return put_array(out, value, resp, depth)
end

function put(out, value, resp, depth)
  local kind = type(value)
  if kind == "string" then
    bulk(out, value)
  elseif kind == "number" then
    out[#out + 1] = ":" .. whole(value) .. "\r\n"
  elseif kind == "boolean" then
    if script_resp() == 3 then
      local word = value and "#t\r\n" or "#f\r\n"
      out[#out + 1] = resp == 3 and word or (value and ":1\r\n" or ":0\r\n")
    elseif value then
      out[#out + 1] = ":1\r\n"
    else
      out[#out + 1] = resp == 3 and "_\r\n" or "$-1\r\n"
    end
  elseif kind ~= "table" then
    out[#out + 1] = resp == 3 and "_\r\n" or "$-1\r\n"
  elseif depth >= DEPTH_MAX then
    out[#out + 1] = "-ERR reached lua stack limit\r\n"
  else
    put_table(out, value, resp, depth + 1)
  end
end

-- Entry points -------------------------------------------------------------------------------------

local staged -- arguments, where there are too many for one call

local function stage(...)
  staged = staged or {}
  local count = #staged
  for index = 1, select("#", ...) do
    staged[count + index] = (select(index, ...))
  end
end

local function split(count, ...)
  local all = staged or { ... }
  staged = nil
  if count == 0 then
    return {}, all
  end
  local keys, rest = {}, {}
  for index = 1, count do
    keys[index] = all[index]
  end
  for index = count + 1, #all do
    rest[index - count] = all[index]
  end
  return keys, rest
end

-- A scalar as one result; frames or an error as several, with FRAMES or FAILED first.
local function finish(resp, ok, value)
  local ending = dead
  stop()
  if ending and ok then -- it got around the error just before its end
    return FAILED, ending, "=?", -1
  elseif ok then
    local kind = type(value)
    if kind == "table" then
      local out = {}
      put(out, value, resp, 0)
      return FRAMES, concat(out)
    elseif kind == "string" or kind == "number" or kind == "boolean" then
      return value
    end
    return nil
  end
  if type(value) == "table" then
    return FAILED, value.err, value.source, value.line
  end
  return FAILED, "ERR " .. tostring(value), "=?", -1
end

local scripts, functions = {}, {}

local function compile_script(id, text)
  if byte(text) == 27 then
    text = " " .. text
  end
  local chunk, message = loadstring(text, "@user_script")
  if not chunk then
    return message
  end
  scripts[id] = setfenv(chunk, environment)
end

local function run_script(id, resp, count, ...)
  globals.KEYS, globals.ARGV = split(count, ...)
  entry = scripts[id]
  return finish(resp, xpcall(entry, on_error))
end

local function run_function(id, resp, count, ...)
  local keys, arguments = split(count, ...)
  local callback = functions[id]
  entry = callback
  local function body()
    return callback(keys, arguments)
  end
  return finish(resp, xpcall(body, on_error))
end

local function forget_script(id)
  scripts[id] = nil
end

local function forget_function(id)
  functions[id] = nil
end

-- Loading a library of functions -----------------------------------------------------------------

local declare = from_host("declare")
local last_function = 0

local function refuse_registration(text)
  error({ err = "ERR " .. text }, 0)
end

local function named_arguments(given)
  local name, callback, description, flags
  for key, value in pairs(given) do
    if key == "function_name" then
      if type(value) ~= "string" and type(value) ~= "number" then
        refuse_registration(
          "function_name argument given to redis.register_function must be a string")
      end
      name = value
    elseif key == "description" then
      if type(value) ~= "string" and type(value) ~= "number" then
        refuse_registration("description argument given to redis.register_function must be a string")
      end
      description = tostring(value)
    elseif key == "callback" then
      if type(value) ~= "function" then
        refuse_registration("callback argument given to redis.register_function must be a function")
      end
      callback = value
    elseif key == "flags" then
      if type(value) ~= "table" then
        refuse_registration(
          "flags argument to redis.register_function must be a table representing function flags")
      end
      flags = value
    else
      refuse_registration("unknown argument given to redis.register_function")
    end
  end
  if not name then
    refuse_registration("redis.register_function must get a function name argument")
  end
  if not callback then
    refuse_registration("redis.register_function must get a callback argument")
  end
  return name, callback, description, flags
end

local function register_function(...)
  local count = select("#", ...)
  local name, callback, description, flags = ...
  if count == 1 then
    if type(name) ~= "table" then
      refuse_registration("calling redis.register_function with a single argument is only"
        .. " applicable to Lua table (representing named arguments).")
    end
    name, callback, description, flags = named_arguments(name)
  elseif count ~= 2 then
    refuse_registration("wrong number of arguments to redis.register_function")
  elseif type(name) ~= "string" and type(name) ~= "number" then
    refuse_registration("first argument to redis.register_function must be a string")
  elseif type(callback) ~= "function" then
    refuse_registration("second argument to redis.register_function must be a function")
  end
  local words = {}
  for index, flag in ipairs(flags or {}) do
    words[index] = type(flag) == "string" and flag or "?"
  end
  last_function = last_function + 1
  local problem = declare(tostring(name), description, concat(words, "\n"), last_function)
  if problem then
    refuse_registration(problem)
  end
  functions[last_function] = callback
end

local loading = {}
for _, name in ipairs({ "LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING" }) do
  loading[name] = redis[name]
end
loading.log, loading.register_function = redis.log, register_function
loading.REDIS_VERSION, loading.REDIS_VERSION_NUM = redis.REDIS_VERSION, redis.REDIS_VERSION_NUM
local loading_globals = closed({ redis = protect(closed(loading)), _G = function_environment })

-- Answers what went wrong, and whether it was before anything ran.
local function load_functions(text)
  if byte(text) == 27 then
    text = " " .. text
  end
  local chunk, message = loadstring(text, "@user_function")
  if not chunk then
    return message, true
  end
  entry = setfenv(chunk, function_environment)
  show_functions(loading_globals)
  local ok, problem = xpcall(entry, on_error)
  show_functions(function_globals)
  stop()
  if not ok then
    return type(problem) == "table" and problem.err or "ERR " .. tostring(problem), false
  end
end

-- Nothing of the bare Lua stays reachable. The state's own global table stays, empty and without a
-- metatable: lupa looks for `debug` there before every call, outside of any protection.
local bare = _G
for name in pairs(copy(bare)) do
  bare[name] = nil
end
start()

return compile_script, run_script, forget_script, load_functions, run_function, forget_function,
  stage, host_prefix, stop
