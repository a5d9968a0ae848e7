-- MessagePack as lua-cmsgpack 0.4 reads and writes it: no extension types, 16 levels when writing.

local shared = ...
local fail, bad_argument, host = shared.fail, shared.bad_argument, shared.host
local byte, char, floor, sub = string.byte, string.char, math.floor, string.sub
local concat, error, next, select, tonumber, tostring, type, unpack = table.concat, error, next,
  select, tonumber, tostring, type, unpack
local double_bytes, double_value = host("double_bytes"), host("double_value")

local DEPTH_MAX = 16
local INT_MAX = 2147483647

-- Writing ----------------------------------------------------------------------------------------

-- `size` bytes, the most significant first; negative numbers as their complement.
local function big_endian(value, size)
  local bytes = {}
  for index = size, 1, -1 do
    bytes[index] = value % 256
    value = floor(value / 256)
  end
  return char(unpack(bytes))
end

local function integer(value)
  if value >= 0 then
    if value <= 127 then
      return char(value)
    elseif value <= 0xFF then
      return "\204" .. char(value)
    elseif value <= 0xFFFF then
      return "\205" .. big_endian(value, 2)
    elseif value <= 0xFFFFFFFF then
      return "\206" .. big_endian(value, 4)
    end
    return "\207" .. big_endian(value, 8)
  elseif value >= -32 then
    return char(256 + value)
  elseif value >= -128 then
    return "\208" .. char(256 + value)
  elseif value >= -32768 then
    return "\209" .. big_endian(value, 2)
  elseif value >= -2147483648 then
    return "\210" .. big_endian(value, 4)
  end
  return "\211" .. big_endian(value, 8)
end

local function number(value)
  if value == floor(value) and value >= -9223372036854775808 and value < 9223372036854775808 then
    return integer(value)
  end
  return double_bytes(value)
end

local function text_header(size)
  if size < 32 then
    return char(0xA0 + size)
  elseif size <= 0xFF then
    return "\217" .. char(size)
  elseif size <= 0xFFFF then
    return "\218" .. big_endian(size, 2)
  end
  return "\219" .. big_endian(size, 4)
end

local function table_header(size, short, long)
  if size <= 15 then
    return char(short + size)
  elseif size <= 0xFFFF then
    return char(long) .. big_endian(size, 2)
  end
  return char(long + 1) .. big_endian(size, 4)
end

-- How many pairs a table has, and whether its keys are 1 to that.
local function measure(value)
  local count, largest, is_array = 0, 0, true
  for key in next, value do
    count = count + 1
    if type(key) ~= "number" or key <= 0 or floor(key) ~= key then
      is_array = false
    elseif key > largest then
      largest = key
    end
  end
  return count, is_array and largest == count
end

local function write(out, value, depth)
  local kind = type(value)
  if kind == "string" then
    out[#out + 1] = text_header(#value)
    out[#out + 1] = value
  elseif kind == "number" then
    out[#out + 1] = number(value)
  elseif kind == "boolean" then
    out[#out + 1] = value and "\195" or "\194"
  elseif kind ~= "table" or depth == DEPTH_MAX then
    out[#out + 1] = "\192"
  else
    local count, is_array = measure(value)
    if is_array then
      out[#out + 1] = table_header(count, 0x90, 0xDC)
      for index = 1, count do
        write(out, value[index], depth + 1)
      end
    else
      out[#out + 1] = table_header(count, 0x80, 0xDE)
      for key, item in next, value do
        write(out, key, depth + 1)
        write(out, item, depth + 1)
      end
    end
  end
end

local function pack(...)
  local count = select("#", ...)
  if count == 0 then
    bad_argument(0, "MessagePack pack needs input.")
  end
  local out = {}
  for index = 1, count do
    write(out, (select(index, ...)), 0)
  end
  return concat(out)
end

-- Reading ----------------------------------------------------------------------------------------

local function need(text, at, size)
  if at + size - 1 > #text then
    fail("Missing bytes in input.")
  end
end

local function unsigned(text, at, size)
  need(text, at, size)
  local value = 0
  for index = at, at + size - 1 do
    value = value * 256 + byte(text, index)
  end
  return value, at + size
end

local function signed(text, at, size)
  local value = unsigned(text, at, size)
  if byte(text, at) >= 128 then
    -- from the complement of each byte: a double holds a small difference exactly
    value = 0
    for index = at, at + size - 1 do
      value = value * 256 + 255 - byte(text, index)
    end
    value = -value - 1
  end
  return value, at + size
end

local read

local function read_text(text, at, size)
  need(text, at, size)
  return sub(text, at, at + size - 1), at + size
end

local function read_array(text, at, count)
  local result = {}
  for index = 1, count do
    result[index], at = read(text, at)
  end
  return result, at
end

local function read_map(text, at, count)
  local result = {}
  for _ = 1, count do
    local key, value
    key, at = read(text, at)
    value, at = read(text, at)
    if key == nil or key ~= key then
      error("table index is " .. (key == nil and "nil" or "NaN"), 0)
    end
    result[key] = value
  end
  return result, at
end

local SIMPLE = { [0xC0] = { nil }, [0xC2] = { false }, [0xC3] = { true } }
local UNSIGNED = { [0xCC] = 1, [0xCD] = 2, [0xCE] = 4 }
local SIGNED = { [0xCF] = 8, [0xD0] = 1, [0xD1] = 2, [0xD2] = 4, [0xD3] = 8 }
local FLOATS = { [0xCA] = 4, [0xCB] = 8 }
local TEXTS = { [0xC4] = 1, [0xC5] = 2, [0xC6] = 4, [0xD9] = 1, [0xDA] = 2, [0xDB] = 4 }
local ARRAYS, MAPS = { [0xDC] = 2, [0xDD] = 4 }, { [0xDE] = 2, [0xDF] = 4 }

local function read_long(text, at, code)
  local size = UNSIGNED[code]
  if size then
    return unsigned(text, at, size)
  elseif SIGNED[code] then
    return signed(text, at, SIGNED[code])
  elseif FLOATS[code] then
    local raw, behind = read_text(text, at, FLOATS[code])
    return double_value(raw), behind
  elseif TEXTS[code] then
    size, at = unsigned(text, at, TEXTS[code])
    return read_text(text, at, size)
  elseif ARRAYS[code] then
    size, at = unsigned(text, at, ARRAYS[code])
    return read_array(text, at, size)
  elseif MAPS[code] then
    size, at = unsigned(text, at, MAPS[code])
    return read_map(text, at, size)
  end
  fail("Bad data format in input.")
end

function read(text, at)
  need(text, at, 1)
  local code = byte(text, at)
  at = at + 1
  if code <= 0x7F then
    return code, at
  elseif code >= 0xE0 then
    return code - 256, at
  elseif code <= 0x8F then
    return read_map(text, at, code - 0x80)
  elseif code <= 0x9F then
    return read_array(text, at, code - 0x90)
  elseif code <= 0xBF then
    return read_text(text, at, code - 0xA0)
  end
  local simple = SIMPLE[code]
  if simple then
    return simple[1], at
  end
  return read_long(text, at, code)
end

local function check_text(text)
  if type(text) == "number" then
    return tostring(text)
  elseif type(text) ~= "string" then
    bad_argument(1, "string expected, got " .. (text == nil and "no value" or type(text)))
  end
  return text
end

local function check_integer(position, value, otherwise)
  if value == nil then
    return otherwise
  end
  local given = tonumber(value)
  if not given then
    bad_argument(position, "number expected, got " .. type(value))
  end
  return given < 0 and -floor(-given) or floor(given)
end

-- Up to `limit` values (0: all) from behind `offset` on; how many, and they.
local function read_many(text, limit, offset)
  if limit < 0 or offset < 0 then
    fail("Invalid request to unpack with offset of " .. offset .. " and limit of " .. #text .. ".")
  elseif offset > #text then
    fail("Start offset " .. offset .. " greater than input length " .. #text .. ".")
  end
  local all = limit == 0
  local values, count, at = {}, 0, offset + 1
  while at <= #text and (all or count < limit) do
    count = count + 1
    values[count], at = read(text, at)
  end
  return values, count, at
end

local function unpack_all(text)
  text = check_text(text)
  local values, count = read_many(text, 0, 0)
  return unpack(values, 1, count)
end

local function with_offset(text, limit, offset)
  local values, count, at = read_many(text, limit, offset)
  return at > #text and -1 or at - 1, unpack(values, 1, count)
end

local function unpack_one(text, offset)
  text = check_text(text)
  return with_offset(text, 1, check_integer(2, offset, 0))
end

local function unpack_limit(text, limit, offset)
  text = check_text(text)
  if limit == nil then
    bad_argument(2, "number expected, got no value")
  end
  limit = check_integer(2, limit, 0)
  offset = check_integer(3, offset, 0)
  if limit == 0 then -- everything, and then no offset is told
    local values, count = read_many(text, 0, offset)
    return unpack(values, 1, count)
  end
  return with_offset(text, limit, offset)
end

return { _NAME = "cmsgpack", _VERSION = "lua-cmsgpack 0.4.0",
  _COPYRIGHT = "Copyright (C) 2012, Salvatore Sanfilippo",
  _DESCRIPTION = "MessagePack C implementation for Lua", pack = pack, unpack = unpack_all,
  unpack_one = unpack_one, unpack_limit = unpack_limit }
