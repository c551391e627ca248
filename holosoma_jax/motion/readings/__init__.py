"""What a motion file may mean, over joint orders, quaternion orders and units, and which of them is right."""
