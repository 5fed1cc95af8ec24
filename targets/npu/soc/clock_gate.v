// A clock that rests after 4096 cycles without `run`, and runs in the very cycle in which that comes.
// The accelerator is most of what is simulated, and idle most of the time.
module clock_gate (
    input clk,
    input run,
    output gated
);
  reg [12:0] left = 0;
  reg on = 0;
  always @(posedge clk) left <= run ? 13'd4096 : left - (left != 0);
  always @(negedge clk) on <= run || left != 0;
  assign gated = clk && on;
endmodule
