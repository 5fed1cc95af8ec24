// External memory with one master a port, 32 bits wide: a command asks for a burst of words, which
// then move in order, one a cycle. The first word of a burst moves LATENCY cycles after its command
// was taken or later. A command is taken while the burst before it moves, so that its latency
// passes meanwhile: bursts of LATENCY words or more follow each other without a gap.
//
// Ports take turns. All commands run in the order in which they were taken, whoever's they are.
module memory #(
    parameter PORTS = 3,
    parameter WORDS = 2 * 1024 * 1024,
    parameter READ_ONLY_WORDS = 1024 * 1024,  // from word 0: writes change nothing
    parameter LATENCY = 10
) (
    input clk,
    input rst,
    input [PORTS-1:0] cmd_valid,
    output [PORTS-1:0] cmd_ready,
    input [PORTS-1:0] cmd_we,
    input [PORTS*32-1:0] cmd_addr,  // in bytes, a multiple of 4
    input [PORTS*7-1:0] cmd_len,  // words
    output [PORTS-1:0] r_valid,
    input [PORTS-1:0] r_ready,
    output [31:0] r_data,
    input [PORTS-1:0] w_valid,
    output [PORTS-1:0] w_ready,
    input [PORTS*32-1:0] w_data,
    input [PORTS*4-1:0] w_strb
);
  localparam BITS = $clog2(WORDS);
  localparam P = PORTS > 1 ? $clog2(PORTS) : 1;

  reg [31:0] words[0:WORDS-1];

  // The burst whose words move, and the one that comes next.
  reg busy, we, next_busy, next_we;
  reg [P-1:0] port, next_port, last_port;
  reg [BITS-1:0] at, next_at;
  reg [6:0] left, next_left;
  reg [7:0] wait_for, next_wait;

  wire moves = busy && wait_for == 0;
  wire moved = moves && (we ? w_valid[port] : r_ready[port]);
  wire done = moved && left == 1;

  // Whose command is taken: the first one after the port that had the last turn.
  reg [P-1:0] turn;
  reg asked;
  integer i;
  always @* begin
    turn  = last_port;
    asked = 0;
    for (i = PORTS; i >= 1; i = i - 1)
      if (cmd_valid[(last_port+i)%PORTS]) begin
        turn  = P'((last_port + i) % PORTS);
        asked = 1;
      end
  end
  wire take = asked && (!busy || (moves && !next_busy));
  assign cmd_ready = take ? PORTS'(1) << turn : 0;
  wire [31:0] turn_addr = cmd_addr[turn*32+:32];

  assign r_valid = moves && !we ? PORTS'(1) << port : 0;
  assign w_ready = moves && we ? PORTS'(1) << port : 0;
  assign r_data  = words[at];
  wire [31:0] data = w_data[port*32+:32];
  wire [3:0] strb = w_strb[port*4+:4];

  always @(posedge clk) begin
    if (moved && we && at >= READ_ONLY_WORDS) begin
      if (strb[0]) words[at][7:0] <= data[7:0];
      if (strb[1]) words[at][15:8] <= data[15:8];
      if (strb[2]) words[at][23:16] <= data[23:16];
      if (strb[3]) words[at][31:24] <= data[31:24];
    end
    if (busy && wait_for != 0) wait_for <= wait_for - 1;
    if (next_busy && next_wait != 0) next_wait <= next_wait - 1;
    if (moved) begin
      at   <= at + 1;
      left <= left - 1;
    end
    if (take) last_port <= turn;
    if (done || !busy) begin
      // A command that is taken now has its whole latency before it.
      busy <= next_busy || take;
      we <= next_busy ? next_we : cmd_we[turn];
      port <= next_busy ? next_port : turn;
      at <= next_busy ? next_at : turn_addr[BITS+1:2];
      left <= next_busy ? next_left : cmd_len[turn*7+:7];
      wait_for <= next_busy ? (next_wait == 0 ? 0 : next_wait - 1) : LATENCY - 1;
      next_busy <= 0;
    end else if (take) begin
      next_busy <= 1;
      next_we   <= cmd_we[turn];
      next_port <= turn;
      next_at   <= turn_addr[BITS+1:2];
      next_left <= cmd_len[turn*7+:7];
      next_wait <= LATENCY - 1;
    end
    if (rst) begin
      busy <= 0;
      next_busy <= 0;
      last_port <= 0;
    end
  end
endmodule
