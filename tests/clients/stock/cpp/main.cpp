// A stock gRPC client in C++, driven by a line of JSON for each call: main SOCKET.
#include <iostream>
#include <string>

#include "driver.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: " << argv[0] << " SOCKET\n";
    return 2;
  }
  Driver driver(argv[1]);
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << driver.answer(Json::parse(line)).dump() << std::endl;
  }
}
