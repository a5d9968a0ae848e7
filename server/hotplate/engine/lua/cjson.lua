-- JSON as lua-cjson 2.1 reads and writes it, numbers, limits and error texts included.

local shared = ...
local fail, bad_argument, null = shared.fail, shared.bad_argument, shared.null
local byte, char, find, floor, format, gsub, lower, match, sub = string.byte, string.char,
  string.find, math.floor, string.format, string.gsub, string.lower, string.match, string.sub
local concat, ipairs, next, rawget, select, tonumber, tostring, type = table.concat, ipairs, next,
  rawget, select, tonumber, tostring, type

local INT_MAX = 2147483647

local function new()
  local sparse_convert, sparse_ratio, sparse_safe = false, 2, 10
  local encode_depth_max, decode_depth_max = 1000, 1000
  local number_format, precision = "%.14g", 14
  local encode_invalid, decode_invalid = false, true
  local keep_buffer = true

  -- Writing --------------------------------------------------------------------------------------

  local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/", ["\b"] = "\\b", ["\t"] = "\\t",
    ["\n"] = "\\n", ["\f"] = "\\f", ["\r"] = "\\r" }
  for code = 0, 127 do
    local character = char(code)
    if (code < 32 or code == 127) and not escapes[character] then
      escapes[character] = format("\\u%04x", code)
    end
  end

  local function quoted(text)
    return '"' .. gsub(text, '[%c"\\/%z]', escapes) .. '"'
  end

  local function refuse(value, why)
    fail("Cannot serialise " .. type(value) .. ": " .. why)
  end

  local function number_text(value)
    if value ~= value or value == 1 / 0 or value == -1 / 0 then
      if encode_invalid == false then
        refuse(value, "must not be NaN or Inf")
      elseif encode_invalid == "null" then
        return "null"
      end
      return value ~= value and "nan" or value > 0 and "inf" or "-inf"
    end
    return format(number_format, value)
  end

  -- The length of an array, nil for what is to be an object.
  local function array_length(value)
    local largest, count = 0, 0
    for key in next, value do
      if type(key) ~= "number" or key < 1 or floor(key) ~= key then
        return nil
      end
      largest = key > largest and key or largest
      count = count + 1
    end
    if sparse_ratio > 0 and largest > count * sparse_ratio and largest > sparse_safe then
      if not sparse_convert then
        refuse(value, "excessively sparse array")
      end
      return nil
    end
    return largest > 0 and largest or nil
  end

  local write

  local function write_object(out, value, depth)
    local separator = "{"
    for key, item in next, value do
      out[#out + 1] = separator
      if type(key) == "string" then
        out[#out + 1] = quoted(key)
      elseif type(key) == "number" then
        out[#out + 1] = '"' .. number_text(key) .. '"'
      else
        refuse(key, "table key must be a number or string")
      end
      out[#out + 1] = ":"
      write(out, item, depth)
      separator = ","
    end
    out[#out + 1] = separator == "{" and "{}" or "}"
  end

  local function write_table(out, value, depth)
    depth = depth + 1
    if depth > encode_depth_max then
      fail("Cannot serialise, excessive nesting (" .. depth .. ")")
    end
    local length = array_length(value)
    if not length then
      return write_object(out, value, depth)
    end
    local separator = "["
    for index = 1, length do
      out[#out + 1] = separator
      write(out, rawget(value, index), depth)
      separator = ","
    end
    out[#out + 1] = "]"
  end

  function write(out, value, depth)
    local kind = type(value)
    if kind == "string" then
      out[#out + 1] = quoted(value)
    elseif kind == "number" then
      out[#out + 1] = number_text(value)
    elseif kind == "table" then
      write_table(out, value, depth)
    elseif kind == "boolean" then
      out[#out + 1] = value and "true" or "false"
    elseif value == nil or value == null then
      out[#out + 1] = "null"
    else
      refuse(value, "type not supported")
    end
  end

  local function encode(...)
    if select("#", ...) ~= 1 then
      bad_argument(1, "expected 1 argument")
    end
    local out = {}
    write(out, (...), 0)
    return concat(out)
  end

  -- Reading --------------------------------------------------------------------------------------

  local PUNCTUATION = { ["{"] = "T_OBJ_BEGIN", ["}"] = "T_OBJ_END", ["["] = "T_ARR_BEGIN",
    ["]"] = "T_ARR_END", [","] = "T_COMMA", [":"] = "T_COLON" }
  local WORDS = { ["true"] = true, ["false"] = false, ["null"] = null }
  local PLAIN_ESCAPES = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n",
    r = "\r", t = "\t" }

  local function utf8(code)
    if code < 0x80 then
      return char(code)
    elseif code < 0x800 then
      return char(0xC0 + floor(code / 0x40), 0x80 + code % 0x40)
    elseif code < 0x10000 then
      return char(0xE0 + floor(code / 0x1000), 0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
    end
    return char(0xF0 + floor(code / 0x40000), 0x80 + floor(code / 0x1000) % 0x40,
      0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
  end

  -- The character of a \u escape at `at`, and where it ends; nil where it is none.
  local function unicode(text, at)
    local digits = sub(text, at + 2, at + 5)
    if not find(digits, "^%x%x%x%x$") then
      return nil
    end
    local code = tonumber(digits, 16)
    if code < 0xD800 or code > 0xDFFF then
      return utf8(code), at + 6
    end
    local low = sub(text, at + 6, at + 11)
    if code > 0xDBFF or not find(low, "^\\u%x%x%x%x$") then
      return nil
    end
    low = tonumber(sub(low, 3), 16)
    if low < 0xDC00 or low > 0xDFFF then
      return nil
    end
    return utf8(0x10000 + (code - 0xD800) * 0x400 + low - 0xDC00), at + 12
  end

  -- A string that begins at `at`; or nil, what is wrong, and where.
  local function read_string(text, at)
    local from = at + 1
    local stop = find(text, '["\\%z]', from)
    if stop and byte(text, stop) == 34 then
      return sub(text, from, stop - 1), stop + 1
    end
    local out = {}
    while stop do
      out[#out + 1] = sub(text, from, stop - 1)
      local code = byte(text, stop)
      if code == 34 then
        return concat(out), stop + 1
      elseif code == 0 then
        return nil, "unexpected end of string", stop
      end
      local letter = sub(text, stop + 1, stop + 1)
      if letter == "u" then
        out[#out + 1], from = unicode(text, stop)
        if not from then
          return nil, "invalid unicode escape code", stop
        end
      else
        local plain = PLAIN_ESCAPES[letter]
        if not plain then
          return nil, "invalid escape code", stop
        end
        out[#out + 1] = plain
        from = stop + 2
      end
      stop = find(text, '["\\%z]', from)
    end
    return nil, "unexpected end of string", #text + 1
  end

  local function read_number(text, at)
    local _, stop = find(text, "^[+-]?0[xX]%x+", at)
    if stop then
      if not decode_invalid then
        return nil, "invalid number", at
      end
      local sign, digits = match(sub(text, at, stop), "^([+-]?)0[xX](%x+)$")
      local value = 0
      for index = 1, #digits do
        value = value * 16 + tonumber(sub(digits, index, index), 16)
      end
      return sign == "-" and -value or value, stop + 1
    end
    _, stop = find(text, "^[+-]?%d+%.?%d*", at)
    if not stop then
      _, stop = find(text, "^[+-]?%.%d+", at)
    end
    if stop then
      local _, exponent = find(text, "^[eE][+-]?%d+", stop + 1)
      stop = exponent or stop
      return tonumber(sub(text, at, stop)), stop + 1
    end
    local word = lower(sub(text, at, at + 8))
    for _, name in ipairs(shared.special_numbers) do
      if decode_invalid and sub(word, 1, #name.text) == name.text then
        return name.value, at + #name.text
      end
    end
    return nil, "invalid number", at
  end

  -- The token at or behind `at`: its name, value, where it begins, and where the next may.
  local function token(text, at)
    at = find(text, "[^ \t\n\r]", at)
    if not at or byte(text, at) == 0 then
      return "T_END", nil, at or #text + 1, at or #text + 1
    end
    local first = sub(text, at, at)
    local name = PUNCTUATION[first]
    if name then
      return name, nil, at, at + 1
    elseif first == '"' then
      local value, behind, where = read_string(text, at)
      if value then
        return "T_STRING", value, at, behind
      end
      return behind, nil, where, where
    elseif find(first, "[%d+-]") or (find(first, "[iInN]") and not find(text, "^null", at)) then
      local value, behind, where = read_number(text, at)
      if value then
        return "T_NUMBER", value, at, behind
      elseif find(first, "[%d+-]") then
        return behind, nil, where, where
      end
    else
      for word, value in next, WORDS do
        if sub(text, at, at + #word - 1) == word then
          local kind = value == null and "T_NULL" or "T_BOOLEAN"
          return kind, value, at, at + #word
        end
      end
    end
    return "invalid token", nil, at, at
  end

  local function unexpected(wanted, name, at)
    fail("Expected " .. wanted .. " but found " .. name .. " at character " .. at)
  end

  local read

  local function read_object(text, at, depth)
    local result = {}
    local name, key, where, behind = token(text, at)
    if name == "T_OBJ_END" then
      return result, behind
    end
    while true do
      if name ~= "T_STRING" then
        unexpected("object key string", name, where)
      end
      name, _, where, behind = token(text, behind)
      if name ~= "T_COLON" then
        unexpected("colon", name, where)
      end
      result[key], behind = read(text, behind, depth)
      name, _, where, behind = token(text, behind)
      if name == "T_OBJ_END" then
        return result, behind
      elseif name ~= "T_COMMA" then
        unexpected("comma or object end", name, where)
      end
      name, key, where, behind = token(text, behind)
    end
  end

  local function read_array(text, at, depth)
    local result = {}
    local name, _, where, behind = token(text, at)
    if name == "T_ARR_END" then
      return result, behind
    end
    behind = at
    local count = 0
    while true do
      count = count + 1
      result[count], behind = read(text, behind, depth)
      name, _, where, behind = token(text, behind)
      if name == "T_ARR_END" then
        return result, behind
      elseif name ~= "T_COMMA" then
        unexpected("comma or array end", name, where)
      end
    end
  end

  function read(text, at, depth)
    local name, value, where, behind = token(text, at)
    if name == "T_STRING" or name == "T_NUMBER" or name == "T_BOOLEAN" or name == "T_NULL" then
      return value, behind
    elseif name ~= "T_OBJ_BEGIN" and name ~= "T_ARR_BEGIN" then
      unexpected("value", name, where)
    end
    depth = depth + 1
    if depth > decode_depth_max then
      fail("Found too many nested data structures (" .. depth .. ") at character " .. where)
    end
    return (name == "T_OBJ_BEGIN" and read_object or read_array)(text, behind, depth)
  end

  local function decode(...)
    if select("#", ...) ~= 1 then
      bad_argument(1, "expected 1 argument")
    end
    local text = ...
    if type(text) == "number" then
      text = tostring(text)
    elseif type(text) ~= "string" then
      bad_argument(1, "string expected, got " .. type(text))
    elseif find(text, "^%z") and #text > 1 and byte(text, 2) == 0 then
      fail("JSON parser does not support UTF-16 or UTF-32")
    end
    local value, behind = read(text, 1, 0)
    local name, _, where = token(text, behind)
    if name ~= "T_END" then
      unexpected("the end", name, where)
    end
    return value
  end

  -- Settings -------------------------------------------------------------------------------------

  local function integer(number, value, low, high)
    local given = tonumber(value)
    if not given then
      bad_argument(number, "number expected, got " .. type(value))
    end
    given = floor(given)
    if given < low or given > high then
      bad_argument(number, format("expected integer between %d and %d", low, high))
    end
    return given
  end

  local function boolean(number, value)
    if value == true or value == "on" then
      return true
    elseif value == false or value == "off" then
      return false
    end
    bad_argument(number, "invalid option '" .. tostring(value) .. "'")
  end

  local module = { _NAME = "cjson", _VERSION = "2.1.0", null = null, encode = encode,
    decode = decode, new = new }
  function module.encode_sparse_array(convert, ratio, safe)
    sparse_convert = convert == nil and sparse_convert or convert ~= nil and boolean(1, convert)
    sparse_ratio = ratio == nil and sparse_ratio or integer(2, ratio, 0, INT_MAX)
    sparse_safe = safe == nil and sparse_safe or integer(3, safe, 0, INT_MAX)
    return sparse_convert, sparse_ratio, sparse_safe
  end
  function module.encode_max_depth(depth)
    encode_depth_max = depth == nil and encode_depth_max or integer(1, depth, 1, INT_MAX)
    return encode_depth_max
  end
  function module.decode_max_depth(depth)
    decode_depth_max = depth == nil and decode_depth_max or integer(1, depth, 1, INT_MAX)
    return decode_depth_max
  end
  function module.encode_number_precision(digits)
    precision = digits == nil and precision or integer(1, digits, 1, 14)
    number_format = "%." .. precision .. "g"
    return precision
  end
  function module.encode_keep_buffer(keep)
    if keep ~= nil then
      keep_buffer = boolean(1, keep)
    end
    return keep_buffer
  end
  function module.encode_invalid_numbers(allowed)
    if allowed == "null" then
      encode_invalid = "null"
    elseif allowed ~= nil then
      encode_invalid = boolean(1, allowed)
    end
    return encode_invalid
  end
  function module.decode_invalid_numbers(allowed)
    if allowed ~= nil then
      decode_invalid = boolean(1, allowed)
    end
    return decode_invalid
  end
  return module
end

shared.special_numbers = {}
for _, name in ipairs({ "infinity", "inf", "nan" }) do
  for _, sign in ipairs({ "", "+", "-" }) do
    local value = name == "nan" and -(0 / 0) or 1 / 0
    shared.special_numbers[#shared.special_numbers + 1] =
      { text = sign .. name, value = sign == "-" and -value or value }
  end
end

return new()
