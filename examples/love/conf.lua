-- luacheck: globals love
-- A machine without a graphics card has better use for its time.
local plays_itself = arg and arg[#arg - 1] == "--shot"

function love.conf(t)
  t.identity = "luma-paper-boat"
  t.version = "11.4"
  t.window.title = "A paper boat"
  t.window.width, t.window.height = 960, 540
  t.window.msaa = plays_itself and 0 or 4
  t.modules.audio, t.modules.sound = false, false
  t.modules.joystick, t.modules.physics, t.modules.video = false, false, false
end
