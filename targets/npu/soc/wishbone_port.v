// A Wishbone master (incrementing bursts of LINE words, CTI 010 ... 111, else single words) on a port
// of the memory. Writes are acknowledged when they are in a buffer; reads wait until all writes
// before them have been asked for, and the memory keeps that order.
module wishbone_port #(
    parameter LINE = 8,
    parameter DEPTH = 4  // writes in the buffer, a power of two
) (
    input clk,
    input rst,
    input stb,
    input we,
    input [29:0] adr,
    input [31:0] dat_w,
    input [3:0] sel,
    input [2:0] cti,
    output ack,
    output [31:0] dat_r,
    output idle,  // every write has been asked for

    output cmd_valid,
    input cmd_ready,
    output cmd_we,
    output [31:0] cmd_addr,
    output [6:0] cmd_len,
    input r_valid,
    output r_ready,
    input [31:0] r_data,
    output w_valid,
    input w_ready,
    output [31:0] w_data,
    output [3:0] w_strb
);
  localparam B = $clog2(DEPTH);

  reg [29:0] addresses[0:DEPTH-1];
  reg [31:0] words[0:DEPTH-1];
  reg [3:0] strobes[0:DEPTH-1];
  reg [B:0] filled, asked, written;  // counts of writes, modulo 2 DEPTH
  reg [6:0] left;  // words of a read that are still to come

  wire room = (B+1)'(filled - written) != (B+1)'(DEPTH);
  wire put = stb && we && room;
  wire burst = cti == 3'b010;
  wire read = stb && !we && left == 0;
  assign idle = filled == asked;

  assign cmd_valid = !idle || read;
  assign cmd_we = !idle;
  assign cmd_addr = {idle ? adr : addresses[asked[B-1:0]], 2'b00};
  assign cmd_len = idle && burst ? LINE : 1;
  assign r_ready = stb && !we;
  assign w_valid = written != asked;
  assign w_data = words[written[B-1:0]];
  assign w_strb = strobes[written[B-1:0]];

  assign ack = we ? put : r_valid && r_ready;
  assign dat_r = r_data;

  always @(posedge clk) begin
    if (put) begin
      addresses[filled[B-1:0]] <= adr;
      words[filled[B-1:0]] <= dat_w;
      strobes[filled[B-1:0]] <= sel;
      filled <= filled + 1;
    end
    if (cmd_valid && cmd_ready) begin
      if (cmd_we) asked <= asked + 1;
      else left <= cmd_len;
    end else if (r_valid && r_ready) left <= left - 1;
    if (w_valid && w_ready) written <= written + 1;
    if (rst) begin
      filled <= 0;
      asked <= 0;
      written <= 0;
      left <= 0;
    end
  end
endmodule
