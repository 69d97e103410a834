-- For prometheus-redis-exporter -script: every number of INFO writethrough, which the exporter
-- shows as redis_script_values{key="writethrough_…"}; and writethrough_up, 1 while the database
-- can be reached.
local values = {}
for line in string.gmatch(redis.call('INFO', 'writethrough'), '[^\r\n]+') do
  local name, value = string.match(line, '^(writethrough_[%w_]+):(.*)$')
  if name == 'writethrough_database' then
    name, value = 'writethrough_up', value == 'up' and '1' or '0'
  end
  if name and name ~= 'writethrough_last_error' and tonumber(value) then
    values[#values + 1] = name
    values[#values + 1] = value
  end
end
return values
